"""pcapng, read: https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcapng/.

Own code, not scapy's: that ends a damaged file as if it were whole, and gives the
packets of a second section the interfaces of the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from struct import Struct
from typing import Protocol

from interceptor.debug.pcaprecord import Damaged, Direction, Record

SECTION = 0x0A0D0D0A  # reads the same in either byte order
INTERFACE = 1
OLD_PACKET = 2
SIMPLE_PACKET = 3
STATISTICS = 5
PACKET = 6

ORDER_MAGIC = 0x1A2B3C4D
COMMENT = 1  # opt_comment, of any block
INTERFACE_NAME = 2  # if_name
RESOLUTION = 9  # if_tsresol
TIME_OFFSET = 14  # if_tsoffset
FLAGS = 2  # epb_flags

MAXIMUM = 16 << 20  # bytes of a block or packet; damage, not traffic, asks for more
_NS = 1_000_000_000


class Stream(Protocol):
    """Bytes from the front to the end; fewer than asked for only at the end."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class _Interface:
    name: str
    link: int
    kept: int  # snaplen; 0: no limit
    ticks: int  # a second
    offset_ns: int

    def time_ns(self, high: int, low: int) -> int:
        return (high << 32 | low) * _NS // self.ticks + self.offset_ns


@dataclass(slots=True)
class _Section:
    """What is known since the last section header."""

    where: str
    order: str = "<"
    interfaces: list[_Interface] = field(default_factory=list)
    head: Struct = field(default_factory=lambda: Struct("<II"))
    word: Struct = field(default_factory=lambda: Struct("<I"))
    pair: Struct = field(default_factory=lambda: Struct("<HH"))
    packet: Struct = field(default_factory=lambda: Struct("<IIIII"))
    old_packet: Struct = field(default_factory=lambda: Struct("<HHIIII"))

    def turn(self, order: str) -> None:
        """A new section: its byte order, and no interfaces yet."""
        self.order, self.interfaces = order, []
        self.head, self.word = Struct(order + "II"), Struct(order + "I")
        self.pair, self.packet = Struct(order + "HH"), Struct(order + "IIIII")
        self.old_packet = Struct(order + "HHIIII")

    def damaged(self, offset: int, what: str, legal: str) -> Damaged:
        return Damaged(self.where, offset, what, legal)


def decode(stream: Stream, where: str) -> Iterator[Record]:
    """Every packet of a pcapng stream that stands at its begin. Raises Damaged."""
    section = _Section(where)
    offset = 0
    while head := stream.read(8):
        if len(head) < 8:
            raise section.damaged(offset, "the file ends within a block's head", "8 bytes")
        rest = b""
        if section.word.unpack_from(head)[0] == SECTION:
            rest = stream.read(4)
            section.turn(_order(rest, section, offset))
        kind, size = section.head.unpack(head)
        if size < 12 or size % 4 or size > MAXIMUM or (kind == SECTION and size < 28):
            legal = f"a multiple of 4 from 12 (section header: 28) to {MAXIMUM}"
            raise section.damaged(offset + 4, f"a block of {size} bytes", legal)
        body = rest + stream.read(size - 8 - len(rest))
        if len(body) != size - 8:
            what = f"a block of {size} bytes is cut off after {len(body) + 8}"
            raise section.damaged(offset, what, "whole blocks")
        if (again := section.word.unpack_from(body, size - 12)[0]) != size:
            what = f"the block's length is {size} in front and {again} behind"
            raise section.damaged(offset + size - 4, what, "the same twice")
        if read := _READERS.get(kind):
            record = read(section, memoryview(body)[: size - 12], offset)
            if record is not None:
                yield record
        offset += size


def _order(magic: bytes, section: _Section, offset: int) -> str:
    for order in "<>":
        if magic == Struct(order + "I").pack(ORDER_MAGIC):
            return order
    what = f"byte-order magic {magic.hex() or 'missing'}"
    raise section.damaged(offset + 8, what, "1a2b3c4d or 4d3c2b1a")


def _options(section: _Section, data: memoryview, offset: int) -> Iterator[tuple[int, bytes]]:
    """Code and value of each option; ``offset`` is where they stand in the file."""
    at = 0
    while len(data) - at >= 4:
        code, size = section.pair.unpack_from(data, at)
        if code == 0:
            return
        if at + 4 + size > len(data):
            what = f"option {code} of {size} bytes does not fit in its block"
            raise section.damaged(offset + at, what, f"at most {len(data) - at - 4}")
        yield code, bytes(data[at + 4 : at + 4 + size])
        at += 4 + size + -size % 4


def _section(section: _Section, body: memoryview, offset: int) -> None:
    major, _minor = section.pair.unpack_from(body, 4)
    if major != 1:
        raise section.damaged(offset + 12, f"pcapng version {major}", "1")


def _interface(section: _Section, body: memoryview, offset: int) -> None:
    if len(body) < 8:
        raise section.damaged(offset, "a short interface block", "at least 20 bytes")
    link, _ = section.pair.unpack_from(body)
    (kept,) = section.word.unpack_from(body, 4)
    name, ticks, shift = "", 1_000_000, 0
    for code, value in _options(section, body[8:], offset + 16):
        if code == INTERFACE_NAME:
            name = value.decode(errors="replace")
        elif code == RESOLUTION and len(value) == 1:
            ticks = (2 if value[0] & 0x80 else 10) ** (value[0] & 0x7F)
        elif code == TIME_OFFSET and len(value) == 8:
            (shift,) = Struct(section.order + "q").unpack(value)
    section.interfaces.append(_Interface(name, link, kept, ticks, shift * _NS))


def _known(section: _Section, index: int, offset: int) -> _Interface:
    if index >= len(section.interfaces):
        legal = f"one of the {len(section.interfaces)} described before"
        raise section.damaged(offset + 8, f"a packet of interface {index}", legal)
    return section.interfaces[index]


def _packet(section: _Section, body: memoryview, offset: int) -> Record:
    if len(body) < 20:
        raise section.damaged(offset, "a short packet block", "at least 32 bytes")
    index, high, low, kept, length = section.packet.unpack_from(body)
    return _whole(section, body, offset, (index, high, low, kept, length))


def _old_packet(section: _Section, body: memoryview, offset: int) -> Record:
    if len(body) < 20:
        raise section.damaged(offset, "a short packet block", "at least 32 bytes")
    index, _drops, high, low, kept, length = section.old_packet.unpack_from(body)
    return _whole(section, body, offset, (index, high, low, kept, length))


def _whole(
    section: _Section, body: memoryview, offset: int, fields: tuple[int, int, int, int, int]
) -> Record:
    """``fields``: interface, time (high, low), bytes kept, bytes on the wire."""
    index, high, low, kept, length = fields
    source = _known(section, index, offset)
    if 20 + kept > len(body):
        legal = f"at most the {len(body) - 20} of its block"
        raise section.damaged(offset + 20, f"a packet of {kept} bytes", legal)
    comments, direction = [], Direction.UNKNOWN
    at = 20 + kept + -kept % 4
    if at < len(body):
        for code, value in _options(section, body[at:], offset + 8 + at):
            if code == COMMENT:
                comments.append(value.decode(errors="replace"))
            elif code == FLAGS and len(value) == 4:
                bits = section.word.unpack(value)[0] & 3
                direction = Direction(bits) if bits < 3 else Direction.UNKNOWN
    time_ns = source.time_ns(high, low)
    data, comment = bytes(body[20 : 20 + kept]), "\n".join(comments)
    return Record(time_ns, source.name, source.link, data, length, comment, direction)


def _simple_packet(section: _Section, body: memoryview, offset: int) -> Record:
    if len(body) < 4:
        raise section.damaged(offset, "a short simple packet block", "at least 16 bytes")
    source = _known(section, 0, offset)
    (length,) = section.word.unpack_from(body)
    kept = min(length, source.kept or length)
    if 4 + kept > len(body):
        legal = f"at most the {len(body) - 4} of its block"
        raise section.damaged(offset + 8, f"a packet of {kept} bytes", legal)
    return Record(0, source.name, source.link, bytes(body[4 : 4 + kept]), length)


_READERS: dict[int, Callable[[_Section, memoryview, int], Record | None]] = {
    SECTION: _section,
    INTERFACE: _interface,
    OLD_PACKET: _old_packet,
    SIMPLE_PACKET: _simple_packet,
    PACKET: _packet,
}
