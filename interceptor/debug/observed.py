"""What was seen of a VM for a while: frozen values, in JSON and back, and two of them as one.

Addresses are text as the kernel writes them. Counts are of connections, not of packets.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from interceptor.errors import ConfigError, Problem

Row = TypeVar("Row")
Tally = tuple[tuple[str, int], ...]
"""What, how often; sorted by what."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A name that was looked up. ``empty``: answers without an address, ``failed``: NXDOMAIN
    and errors among ``count``. ``types`` are record types by name."""

    name: str
    count: int = 0
    empty: int = 0
    failed: int = 0
    addresses: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """What this VM calls. ``name`` is how it came by the address, empty where nobody knows;
    ``evidence`` is dns, sni, host or hosts (/etc/hosts). ``protocol`` was seen, or is empty.

    ``count`` of new connections, ``answered`` of them; ``before`` are connections that were
    open already. ``said`` are names that requests bore and that are not ``name``. ``devices``:
    sockets were bound to them. ``owners``: by whom, as people call it.
    """

    address: str
    port: int
    transport: str = "tcp"
    name: str = ""
    evidence: str = ""
    protocol: str = ""
    count: int = 0
    answered: int = 0
    before: int = 0
    said: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    owners: Tally = ()


@dataclass(frozen=True, slots=True)
class Listening:
    """A socket of this VM that waits to be called; ``addresses`` it is bound to."""

    port: int
    transport: str = "tcp"
    addresses: tuple[str, ...] = ()
    owner: str = ""
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Visit:
    """Who called this VM, on which port; ``answered`` and ``before`` as in Call. An empty peer
    is this VM itself."""

    port: int
    peer: str
    transport: str = "tcp"
    protocol: str = ""
    count: int = 0
    answered: int = 0
    before: int = 0


@dataclass(frozen=True, slots=True)
class Observation:
    """All of it. ``seconds`` it took, in ``runs`` times; ``live`` is false where it comes of a
    capture only, which knows no sockets. ``static`` are /etc/hosts' (name, address);
    ``sidecar_like`` processes that run as the sidecar's user; ``ephemeral`` the range of ports
    that the kernel gives to clients; ``agent`` the pid of our daemon where it was at work.
    ``forwarded`` counts connections of others (containers)
    by their device; ``left_out`` those beyond what is kept, ``lost`` packets."""

    host: str = ""
    addresses: tuple[str, ...] = ()
    resolvers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    static: tuple[tuple[str, str], ...] = ()
    ephemeral: tuple[int, int] = (32768, 60999)
    seconds: float = 0.0
    runs: int = 1
    live: bool = True
    asked: tuple[Asked, ...] = ()
    calls: tuple[Call, ...] = ()
    listening: tuple[Listening, ...] = ()
    visits: tuple[Visit, ...] = ()
    sidecar_like: tuple[str, ...] = ()
    agent: int = 0
    forwarded: Tally = ()
    lost: int = 0
    left_out: int = 0


_FORM = TypeAdapter(Observation)


def encode(found: Observation) -> bytes:
    """As JSON."""
    return _FORM.dump_json(found, indent=1)


def decode(text: bytes, where: str) -> Observation:
    """The inverse of `encode`. Raises ConfigError."""
    try:
        return _FORM.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"])) or "(document)"
        legal = f"{first['msg']}; what an earlier `interceptor observe` wrote"
        raise ConfigError([Problem(where, key, repr(first["input"])[:80], legal)]) from error


def add(*tallies: Tally) -> Tally:
    """Counts of several, together."""
    sums: dict[str, int] = {}
    for what, count in (row for tally in tallies for row in tally):
        sums[what] = sums.get(what, 0) + count
    return tuple(sorted(sums.items()))


def join(*lists: Iterable[str]) -> tuple[str, ...]:
    """Each text once, in the order of their coming."""
    return tuple(dict.fromkeys(text for texts in lists for text in texts))


def merge(old: Observation, new: Observation) -> Observation:
    """Both runs as one. What the host is, is as the later one saw it."""
    return replace(
        new,
        addresses=join(new.addresses, old.addresses),
        seconds=old.seconds + new.seconds,
        runs=old.runs + new.runs,
        live=old.live or new.live,
        static=tuple(dict.fromkeys(new.static + old.static)),
        asked=_rows(old.asked + new.asked, lambda row: row.name),
        calls=_rows(
            old.calls + new.calls,
            lambda row: (row.name, row.evidence, row.address, row.port, row.transport),
        ),
        listening=_rows(old.listening + new.listening, lambda row: (row.port, row.transport)),
        visits=_rows(old.visits + new.visits, lambda row: (row.port, row.peer, row.transport)),
        sidecar_like=join(old.sidecar_like, new.sidecar_like),
        forwarded=add(old.forwarded, new.forwarded),
        lost=old.lost + new.lost,
        left_out=old.left_out + new.left_out,
    )


def _rows(rows: Iterable[Row], key: Callable[[Row], object]) -> tuple[Row, ...]:
    """Rows of one key as one, in the order of the first of each."""
    found: dict[object, list[Row]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return tuple(functools.reduce(_together, same) for same in found.values())


def _together(one: Row, other: Row) -> Row:
    """Numbers are added, lists joined; of texts the later one counts that is not empty."""
    joined: dict[str, object] = {}
    for field in fields(one):  # type: ignore[arg-type]  # every Row is a dataclass
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        if field.name == "before":
            joined[field.name] = max(mine, theirs)  # it may be open still
        elif field.name == "owners":
            joined[field.name] = add(mine, theirs)
        elif isinstance(mine, tuple):
            joined[field.name] = join(mine, theirs)
        elif isinstance(mine, int) and field.name != "port":
            joined[field.name] = mine + theirs
        else:
            joined[field.name] = theirs or mine
    return replace(one, **joined)  # type: ignore[type-var]  # as above
