"""What daemon and worker say to each other over their socket pair.

A frame is a length, a kind and a payload. The payload is Python's marshal of
plain tuples, strings, bytes and numbers: both ends are this program in the same
interpreter, the daemon is trusted, and it is four times as quick as JSON, which
would have to escape the records besides.
"""

from __future__ import annotations

import asyncio
import enum
import marshal
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field, fields
from struct import Struct

from interceptor.dns.reply import Label
from interceptor.dns.sighting import Sighting
from interceptor.mesh.model import Locale

_HEAD = Struct("!IB")  # bytes of payload, kind
_MAXIMUM = 64 << 20
_SIGHTING = tuple(each.name for each in fields(Sighting))


class Kind(enum.IntEnum):
    """Downwards SETTINGS once, then LOAD... COMMIT, CHANGE and TRACE; upwards READY once, then
    BEAT and SEEN."""

    SETTINGS = 1
    LOCALE = 2
    LOAD = 3
    COMMIT = 4
    CHANGE = 5
    READY = 6
    BEAT = 7
    TRACE = 8
    SEEN = 9


Row = tuple[str, bytes]  # host, record


@dataclass(frozen=True, slots=True)
class Settings:
    """What a worker has to know before anything else. ``queue`` -1: no netfilter queue.
    ``maps`` is the folder of the pinned BPF maps (``capture.bpf_dir``); empty: the kernel
    answers nothing by itself."""

    queue: int
    queue_length: int
    tcp_port: int
    mark: int
    maps: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """Hosts to add or replace, hosts to remove."""

    upserted: Sequence[Row] = ()
    removed: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Beat:
    """A life sign with everything counted since the worker began.

    ``queries`` counts by (plane, result, query type); ``events`` whatever else happened.
    ``standing`` are queries, too, but counted by the kernel since its maps were made.
    ``samples`` are the numbers of timed answers by ``nfqueue.BOUNDS_S`` (not cumulative, one
    more than there are bounds); one packet in ``nfqueue.SAMPLE`` is timed.
    """

    hosts: int = 0
    queries: dict[tuple[str, str, str], int] = field(default_factory=dict)
    events: dict[str, int] = field(default_factory=dict)
    samples: tuple[int, ...] = ()
    sampled_s: float = 0.0
    standing: dict[tuple[str, str, str], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lease:
    """Until when the worker is to tell what it decides (CLOCK_MONOTONIC); 0: no longer."""

    until_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What the worker decided since it last told, and how much more it could not tell."""

    lost: int = 0
    rows: tuple[Sighting, ...] = ()


Message = Settings | Locale | Change | Beat | Lease | Seen | tuple[Row, ...] | None


def encode(kind: Kind, payload: bytes = b"") -> bytes:
    """One frame around a payload."""
    return _HEAD.pack(len(payload), kind) + payload


def encode_load(rows: Sequence[Row]) -> bytes:
    return encode(Kind.LOAD, marshal.dumps(tuple(rows)))


def encode_settings(settings: Settings) -> bytes:
    return encode(Kind.SETTINGS, marshal.dumps(astuple(settings)))


def encode_locale(locale: Locale) -> bytes:
    return encode(Kind.LOCALE, marshal.dumps(astuple(locale)))


def encode_change(change: Change) -> bytes:
    return encode(Kind.CHANGE, marshal.dumps((tuple(change.upserted), tuple(change.removed))))


def encode_beat(beat: Beat) -> bytes:
    return encode(Kind.BEAT, marshal.dumps(astuple(beat)))


def encode_lease(lease: Lease) -> bytes:
    return encode(Kind.TRACE, marshal.dumps(astuple(lease)))


def encode_seen(seen: Seen) -> bytes:
    # Not astuple, which copies deeply: these are many.
    rows = tuple(tuple(getattr(row, name) for name in _SIGHTING) for row in seen.rows)
    return encode(Kind.SEEN, marshal.dumps((seen.lost, rows)))


def decode(kind: Kind, payload: bytes) -> Message:
    """What `encode_...` was given; LOAD gives its rows, COMMIT and READY nothing."""
    value = marshal.loads(payload) if payload else ()
    match kind:
        case Kind.SETTINGS:
            return Settings(*value)
        case Kind.LOCALE:
            return Locale(*value)
        case Kind.CHANGE:
            return Change(*value)
        case Kind.BEAT:
            return Beat(*value)
        case Kind.TRACE:
            return Lease(*value)
        case Kind.SEEN:
            lost, rows = marshal.loads(payload)
            return Seen(lost, tuple(Sighting(*row) for row in rows))
        case Kind.LOAD:
            return tuple(value)
    return None


async def receive(
    reader: asyncio.StreamReader,
) -> tuple[Kind, Message]:
    """The next frame. IncompleteReadError at the end of the stream."""
    size, kind = _HEAD.unpack(await reader.readexactly(_HEAD.size))
    if size > _MAXIMUM:
        raise ValueError(f"frame of {size} bytes; at most {_MAXIMUM}")
    payload = await reader.readexactly(size)
    return Kind(kind), decode(Kind(kind), payload)


def counted(plane: str, counts: dict[Label, int]) -> dict[tuple[str, str, str], int]:
    """A responder's counts under the name of its plane."""
    # dict() copies in one step of the interpreter, while another thread goes on counting.
    return {(plane, result, kind): count for (result, kind), count in dict(counts).items()}
