"""DNS over TCP out of captured segments: the messages of each direction, in order. Pure.

Segments may come twice, late, or overlapping; what is missing holds back what follows. Where
too much waits for it the rest of the stream is given up: nobody knows where a message begins
behind a hole. A capture that begins in the middle of a connection is read from there, as if a
message began with the first segment.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from interceptor.debug.datagram import SYN, Datagram

MAXIMUM_STREAMS = 4096
MAXIMUM_WAITING = 64  # segments behind a hole
_HALF = 1 << 31

Key = tuple[bytes, int, bytes, int]


@dataclass(slots=True)
class _Stream:
    """``expected`` is the sequence number of the next byte."""

    expected: int
    is_lost: bool = False
    buffer: bytearray = field(default_factory=bytearray)
    waiting: dict[int, bytes] = field(default_factory=dict)

    def take(self, sequence: int, data: bytes) -> None:
        if self.is_lost:
            return
        self.waiting[sequence] = max(data, self.waiting.get(sequence, b""), key=len)
        while self._join():
            pass
        if len(self.waiting) > MAXIMUM_WAITING:
            self.is_lost = True
            self.waiting.clear()
            self.buffer.clear()

    def _ahead(self, sequence: int) -> int:
        """How far beyond what is expected, modulo 2^32."""
        return (sequence - self.expected) & 0xFFFFFFFF

    def _join(self) -> bool:
        """Append one waiting segment that fits; drop those that are behind."""
        for sequence in list(self.waiting):
            ahead = self._ahead(sequence)
            if 0 < ahead < _HALF:
                continue
            data = self.waiting.pop(sequence)
            new = data[-ahead & 0xFFFFFFFF :]
            if new:
                self.buffer += new
                self.expected = (self.expected + len(new)) & 0xFFFFFFFF
                return True
        return False

    def messages(self) -> list[bytes]:
        """Whole messages, without their lengths."""
        found, at = [], 0
        while len(self.buffer) - at >= 2:
            size = int.from_bytes(self.buffer[at : at + 2], "big")
            if len(self.buffer) - at - 2 < size:
                break
            found.append(bytes(self.buffer[at + 2 : at + 2 + size]))
            at += 2 + size
        del self.buffer[:at]
        return found


class Streams:
    """One stream for each direction of a connection. The oldest is forgotten for a new one."""

    def __init__(self) -> None:
        self._streams: dict[Key, _Stream] = {}

    def take(self, packet: Datagram) -> list[bytes]:
        """The messages that this segment completes."""
        key = (packet.source, packet.source_port, packet.destination, packet.port)
        stream = self._streams.get(key)
        if packet.flags & SYN:
            first = (packet.sequence + 1) & 0xFFFFFFFF
            if stream is None or stream.expected != first:
                stream = self._open(key, first)
            if not packet.payload:  # TCP Fast Open has some
                return []
            stream.take(first, packet.payload)
            return stream.messages()
        if not packet.payload:
            return []
        if stream is None:
            stream = self._open(key, packet.sequence)
        stream.take(packet.sequence, packet.payload)
        return stream.messages()

    def _open(self, key: Key, expected: int) -> _Stream:
        self._streams.pop(key, None)
        if len(self._streams) >= MAXIMUM_STREAMS:
            del self._streams[next(iter(self._streams))]
        self._streams[key] = stream = _Stream(expected)
        return stream
