"""Captures from files: pcap in all its spellings, and pcapng.

`read` is the door to both; what it gives does not tell which it was.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from struct import Struct

from interceptor.debug import pcapread
from interceptor.debug.pcapread import Stream
from interceptor.debug.pcaprecord import Damaged, Record
from interceptor.errors import InterceptorError

# Magic as it stands in the file → byte order, nanoseconds a tick (pcap-savefile(5)).
_CLASSIC = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
_NG = pcapread.SECTION.to_bytes(4, "big")
_COMPRESSED = {b"\x1f\x8b": "gunzip", b"\x28\xb5": "unzstd", b"\x04\x22": "unlz4"}
_NS = 1_000_000_000


class _Again:
    """A stream whose first bytes have been looked at already. Pipes cannot go back."""

    def __init__(self, seen: bytes, stream: Stream) -> None:
        self._seen = seen
        self._stream = stream

    def read(self, size: int) -> bytes:
        seen, self._seen = self._seen[:size], self._seen[size:]
        return seen + self._stream.read(size - len(seen)) if len(seen) < size else seen


def read(path: Path) -> Iterator[Record]:
    """Every packet of the capture, in the file's order; ``-`` is standard input.

    Raises InterceptorError where it cannot be opened and Damaged where it is not (or from
    some byte on no longer) a capture: what came before has been given by then.
    """
    if str(path) == "-":
        yield from decode(sys.stdin.buffer, "(standard input)")
        return
    try:
        stream = path.open("rb")
    except OSError as error:
        raise InterceptorError(f"{path}: {error.strerror}; name a pcap or pcapng file") from error
    with stream:
        yield from decode(stream, str(path))


def decode(stream: Stream, where: str) -> Iterator[Record]:
    """As `read`, of an open stream that has ``where`` for a name in errors."""
    magic = stream.read(4)
    if magic == _NG:
        return pcapread.decode(_Again(magic, stream), where)
    if magic in _CLASSIC:
        return _classic(stream, where, *_CLASSIC[magic])
    legal = "a pcap or pcapng file as tcpdump, Wireshark or `interceptor capture` write it"
    if tool := _COMPRESSED.get(magic[:2]):
        raise Damaged(where, 0, "a compressed file", f"{legal}; {tool} it first")
    raise Damaged(where, 0, f"magic {magic.hex() or 'missing'}", legal)


def _classic(stream: Stream, where: str, order: str, tick_ns: int) -> Iterator[Record]:
    """pcap; the magic has been read."""
    head = stream.read(20)
    if len(head) < 20:
        raise Damaged(where, len(head) + 4, "the file ends within its head", "24 bytes")
    major, minor, kept_most, link = Struct(order + "HH8xII").unpack(head)
    if major != 2:
        raise Damaged(where, 4, f"pcap version {major}.{minor}", "2.4")
    link &= 0xFFFF  # the upper half tells of frame check sequences
    limit = min(max(kept_most, 262144), pcapread.MAXIMUM)  # 0 is written for "no limit"
    words = Struct(order + "IIII")
    offset = 24
    while head := stream.read(16):
        if len(head) < 16:
            raise Damaged(where, offset, "the file ends within a packet's head", "16 bytes")
        second, tick, kept, length = words.unpack(head)
        if kept > limit:
            raise Damaged(where, offset + 8, f"a packet of {kept} bytes", f"at most {limit}")
        data = stream.read(kept)
        if len(data) < kept:
            what = f"a packet of {kept} bytes is cut off after {len(data)}"
            raise Damaged(where, offset, what, "whole packets")
        yield Record(second * _NS + tick * tick_ns, "", link, data, length)
        offset += 16 + kept
