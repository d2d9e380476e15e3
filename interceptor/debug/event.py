"""One live decision: a query's fate or a connection's, as a value, as JSON, as a line.

Whatever sees decisions (the DNS worker, the programs' ring, the kernel's log, Envoy's)
is a `Source`: it makes an `Event` of each and gives it to a `Sink`.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, tzinfo
from typing import Protocol


class Kind(enum.StrEnum):
    """What was decided about."""

    DNS = "dns"
    CONNECTION = "connection"


@dataclass(frozen=True, slots=True)
class Event:
    """One decision. Empty text, 0 and None stand for what is not known.

    ``time_s`` is the wall clock's, ``took_s`` how long the decision took (dns) or the
    connection lasted. ``plane`` saw it: nfqueue, bridge, tcp, kernel, handover, netfilter,
    ebpf, sidecar. ``verdict`` is a word of design §10: answer, nodata, nxdomain, pass;
    outbound, inbound, pass. ``source`` and ``destination`` are the ends as the process has
    them, ``name`` and ``qtype`` what was asked, ``host`` the mesh's host that was meant,
    ``rule`` the number of the scope rule, ``to`` where it went in the end.
    """

    time_s: float
    kind: Kind
    plane: str
    verdict: str
    protocol: str = ""
    source: str = ""
    source_port: int = 0
    destination: str = ""
    port: int = 0
    name: str = ""
    qtype: str = ""
    answers: tuple[str, ...] = ()
    host: str = ""
    rule: int = 0
    why: str = ""
    to: str = ""
    took_s: float | None = None
    uid: int | None = None
    pid: int = 0
    comm: str = ""
    unit: str = ""


Sink = Callable[[Event], None]
"""Takes one event; cheap, never blocks, never raises. Called by the loop's thread only."""


class Source(Protocol):
    """What tells of decisions while somebody listens, and costs nothing otherwise."""

    @property
    def left_out(self) -> int:
        """Events that it could not tell since the daemon began; only ever grows."""
        ...

    async def open(self, sink: Sink) -> None:
        """Begin to tell. The first listener is there. Raises OSError, InterceptorError: the
        others tell all the same."""
        ...

    async def close(self) -> None:
        """The last listener has left. Also after an `open` that failed, and twice."""
        ...


_NAMES = tuple(field.name for field in fields(Event))
_NEEDED = ("time_s", "kind", "plane", "verdict")
_NUMBERS = ("source_port", "port", "rule", "pid")
_OPTIONAL: dict[str, tuple[type, ...]] = {"took_s": (int, float), "uid": (int,)}


def observe_date(monotonic_s: float) -> float:
    """The wall clock's time of a moment of CLOCK_MONOTONIC, which is the same to every process
    and to BPF programs (bpf_ktime_get_ns)."""
    return time.time() - (time.monotonic() - monotonic_s)


def encode(event: Event) -> dict[str, object]:
    """The event as JSON has it: every field under its name."""
    return {name: getattr(event, name) for name in _NAMES}


def decode(tree: Mapping[str, object]) -> Event:
    """What `encode` was given. Fields that are missing keep their defaults, others are
    ignored. Raises ValueError."""
    missing = [name for name in _NEEDED if name not in tree]
    if missing:
        raise ValueError(f"no event: {', '.join(missing)} missing")
    found = {name: _parse(name, tree[name]) for name in _NAMES if name in tree}
    return Event(**found)  # type: ignore[arg-type]


def _parse(name: str, value: object) -> object:
    if name == "kind":
        return Kind(str(value))
    if name == "answers":
        if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise ValueError(f"{name} {value!r}: not a list of texts")
    wanted: tuple[type, ...] = (str,)
    if name == "time_s":
        wanted = (int, float)
    elif name in _NUMBERS:
        wanted = (int,)
    elif name in _OPTIONAL:
        if value is None:
            return None
        wanted = _OPTIONAL[name]
    if isinstance(value, bool) or not isinstance(value, wanted):
        raise ValueError(f"{name} {value!r}: not {' or '.join(each.__name__ for each in wanted)}")
    return value


def render(event: Event, zone: tzinfo | None = None) -> str:
    """One line: time, process, flow, what was asked or called, verdict, where it went, the
    rule and its reason, how long. ``zone``: the clock's; None is this host's."""
    moment = datetime.fromtimestamp(event.time_s, zone)
    parts = (
        f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03}",
        event.kind.value,
        _process(event),
        _flow(event),
        f"{event.name}. {event.qtype}".strip() if event.name else event.host,
        _fate(event),
        _reason(event),
        event.plane,
        _span(event.took_s),
    )
    return _printable("  ".join(part for part in parts if part))


def _process(event: Event) -> str:
    who = event.comm or ("?" if event.pid else "")
    named = f"{who}[{event.pid}]" if event.pid else who
    if not named and event.uid is not None:
        named = f"uid {event.uid}"
    return f"{named} {event.unit}".strip() or "-"


def _flow(event: Event) -> str:
    """The ends as far as they are known."""
    ends = (
        end(event.source, event.source_port) if event.source else "",
        end(event.destination, event.port) if event.destination else "",
    )
    flow = " → ".join(filter(None, ends))
    return f"{flow}/{event.protocol}" if flow and event.protocol else flow


def end(address: str, port: int) -> str:
    """``address:port``, an IPv6 address in brackets."""
    host = f"[{address}]" if ":" in address else address
    return f"{host}:{port}" if port else host


def _fate(event: Event) -> str:
    told = " ".join((event.verdict, *event.answers))
    return f"{told} → {event.to}" if event.to else told


def _reason(event: Event) -> str:
    if event.rule:
        return f"rule {event.rule}: {event.why}" if event.why else f"rule {event.rule}"
    return f"({event.why})" if event.why else ""


def _span(took_s: float | None) -> str:
    if took_s is None:
        return ""
    if took_s < 1e-3:
        return f"{took_s * 1e6:.0f} µs"
    return f"{took_s * 1e3:.1f} ms" if took_s < 1 else f"{took_s:.2f} s"


def _printable(text: str) -> str:
    """Without what would steer a terminal: names and processes are called as others please."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )
