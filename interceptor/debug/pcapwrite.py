"""pcapng, written: blocks as bytes, little-endian, times in nanoseconds.

Own code, not scapy's: that knows microseconds only, and neither interface
statistics nor who wrote the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

from interceptor.debug import pcapread
from interceptor.debug.pcaprecord import Direction, Record

_U16_PAIR = Struct("<HH")
_U32 = Struct("<I")
_U64 = Struct("<Q")
_WORDS = Struct("<II")
_PACKET = Struct("<IIIII")
_LONGEST = 0xFFFF  # bytes of an option

_OS, _PROGRAM = 3, 4  # shb_os, shb_userappl
_DESCRIPTION, _FILTER = 3, 11  # if_description, if_filter
_START, _END, _RECEIVED, _DROPPED = 2, 3, 4, 5  # isb_starttime ... isb_ifdrop
_NANOSECONDS = b"\x09"  # if_tsresol: 10 to the power of minus nine
_FILTER_TEXT = b"\x00"  # if_filter's first byte: libpcap syntax


@dataclass(frozen=True, slots=True)
class Interface:
    """A vantage point as the file tells of it. ``snaplen`` 0: whole packets."""

    name: str
    link: int
    description: str = ""
    snaplen: int = 0
    filter: str = ""


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of one interface: ``received`` counts what passed the filter, lost or not."""

    start_ns: int
    end_ns: int
    received: int
    dropped: int


def _option(code: int, value: bytes) -> bytes:
    return _U16_PAIR.pack(code, len(value)) + value + bytes(-len(value) % 4)


def _text(code: int, text: str, before: bytes = b"") -> bytes:
    """A text option; nothing where there is no text; cut where it is too long for one."""
    if not text:
        return b""
    value = text.encode(errors="replace")[: _LONGEST - len(before)]
    return _option(code, before + value.decode(errors="ignore").encode())


def _block(kind: int, body: bytes, options: bytes = b"") -> bytes:
    if options:
        options += _U16_PAIR.pack(0, 0)
    size = len(body) + len(options) + 12
    return _WORDS.pack(kind, size) + body + options + _U32.pack(size)


def encode_section(program: str, system: str = "") -> bytes:
    """The block that every file begins with. ``program`` is its name and version."""
    body = _U32.pack(pcapread.ORDER_MAGIC) + _U16_PAIR.pack(1, 0) + b"\xff" * 8  # length unknown
    return _block(pcapread.SECTION, body, _text(_OS, system) + _text(_PROGRAM, program))


def encode_interface(interface: Interface) -> bytes:
    """Interfaces are numbered from 0 in the order in which they are described."""
    options = _text(pcapread.INTERFACE_NAME, interface.name)
    options += _text(_DESCRIPTION, interface.description)
    options += _option(pcapread.RESOLUTION, _NANOSECONDS)
    options += _text(_FILTER, interface.filter, _FILTER_TEXT)
    body = _U16_PAIR.pack(interface.link, 0) + _U32.pack(interface.snaplen)
    return _block(pcapread.INTERFACE, body, options)


def encode_packet(index: int, record: Record) -> bytes:
    """A packet of interface number ``index``; its name and link are the interface's."""
    kept = len(record.data)
    words = _PACKET.pack(
        index, record.time_ns >> 32, record.time_ns & 0xFFFFFFFF, kept, record.length
    )
    options = _text(pcapread.COMMENT, record.comment)
    if record.direction is not Direction.UNKNOWN:
        options += _option(pcapread.FLAGS, _U32.pack(record.direction))
    return _block(pcapread.PACKET, words + record.data + bytes(-kept % 4), options)


def encode_statistics(index: int, counts: Statistics) -> bytes:
    """What interface number ``index`` saw; times in the interface's resolution, high word first."""
    options = b"".join(
        _option(code, _split(time_ns))
        for code, time_ns in ((_START, counts.start_ns), (_END, counts.end_ns))
    )
    options += _option(_RECEIVED, _U64.pack(counts.received))
    options += _option(_DROPPED, _U64.pack(counts.dropped))
    return _block(pcapread.STATISTICS, _U32.pack(index) + _split(counts.end_ns), options)


def _split(time_ns: int) -> bytes:
    return _WORDS.pack(time_ns >> 32, time_ns & 0xFFFFFFFF)
