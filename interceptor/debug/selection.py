"""Which events a listener wants, and how many: asked of the daemon in a page's query.

The daemon looks, so that a busy host sends only what is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import urlencode

from interceptor.debug.event import Event

PAGE = "/trace"
VERDICTS = ("answer", "nodata", "nxdomain", "pass", "forward", "outbound", "inbound")
RATE = 1000  # events a second; a terminal shows less, a file takes more
MAXIMUM_RATE = 20_000  # about what one core can tell of


@dataclass(frozen=True, slots=True)
class Selection:
    """Of each field one value must fit; a field without values takes everything.

    ``names``, ``units`` and ``services`` are globs: of the name asked (or the host called), of
    the systemd unit, with or without ``.service``, and of the mesh's host, whole or its first
    labels. ``rate`` bounds the events in each second. ``duration_s`` and ``count`` end the
    stream; 0: they do not.
    """

    names: tuple[str, ...] = ()
    pids: tuple[int, ...] = ()
    units: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    verdicts: tuple[str, ...] = ()
    rate: int = RATE
    duration_s: float = 0.0
    count: int = 0


def decide(wanted: Selection, event: Event) -> bool:
    """Whether the listener wants this one."""
    return (
        (not wanted.verdicts or event.verdict in wanted.verdicts)
        and (not wanted.pids or event.pid in wanted.pids)
        and (not wanted.names or _fits(wanted.names, (event.name or event.host,)))
        and (not wanted.units or _fits(wanted.units, _forms(event.unit)))
        and (not wanted.services or _fits(wanted.services, _beginnings(event.host)))
    )


def _fits(globs: Sequence[str], texts: Iterable[str]) -> bool:
    return any(fnmatchcase(text, glob) for text in texts for glob in globs if text)


def _forms(unit: str) -> tuple[str, ...]:
    return unit, unit.removesuffix(".service")


def _beginnings(host: str) -> list[str]:
    """``a.b.c``, ``a.b``, ``a``: what people call a service by."""
    labels = host.split(".")
    return [".".join(labels[:count]) for count in range(len(labels), 0, -1)]


def encode(wanted: Selection) -> str:
    """The page to ask for."""
    pairs: list[tuple[str, object]] = [
        *(("name", value) for value in wanted.names),
        *(("pid", value) for value in wanted.pids),
        *(("unit", value) for value in wanted.units),
        *(("service", value) for value in wanted.services),
        *(("verdict", value) for value in wanted.verdicts),
        ("rate", wanted.rate),
        ("duration", wanted.duration_s),
        ("count", wanted.count),
    ]
    return f"{PAGE}?{urlencode(pairs)}"


def decode(pairs: Iterable[tuple[str, str]]) -> Selection:
    """What a page's query asks for. Raises ValueError with what is legal."""
    given: dict[str, list[str]] = {}
    for key, value in pairs:
        given.setdefault(key, []).append(value)
    unknown = given.keys() - _KEYS
    if unknown:
        raise ValueError(f"{', '.join(sorted(unknown))}: unknown; legal: {', '.join(_KEYS)}")
    verdicts = tuple(given.get("verdict", ()))
    if wrong := set(verdicts) - set(VERDICTS):
        raise ValueError(f"verdict {', '.join(sorted(wrong))}: legal: {', '.join(VERDICTS)}")
    return Selection(
        names=tuple(_normal(name) for name in given.get("name", ())),
        pids=tuple(int(_number("pid", value, int)) for value in given.get("pid", ())),
        units=tuple(given.get("unit", ())),
        services=tuple(_normal(name) for name in given.get("service", ())),
        verdicts=verdicts,
        rate=max(1, min(int(_last(given, "rate", RATE, int)), MAXIMUM_RATE)),
        duration_s=_last(given, "duration", 0.0, float),
        count=int(_last(given, "count", 0, int)),
    )


_KEYS = ("name", "pid", "unit", "service", "verdict", "rate", "duration", "count")


def _normal(name: str) -> str:
    """As events write names."""
    return name.rstrip(".").lower()


def _last(
    given: dict[str, list[str]], key: str, default: float, kind: Callable[[str], float]
) -> float:
    return _number(key, given[key][-1], kind) if key in given else default


def _number(key: str, text: str, kind: Callable[[str], float]) -> float:
    try:
        value = kind(text)
    except ValueError:
        value = -1
    if not 0 <= value < 1e9:
        raise ValueError(f"{key} {text}: not a number from 0 on")
    return value
