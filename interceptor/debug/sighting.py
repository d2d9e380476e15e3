"""Packets as sockets give them, put back into the order in which the kernel saw them.

Each link has a socket of its own, and what is known of a packet may arrive after it: so
each is held for a moment.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

from interceptor.debug.datagram import Datagram
from interceptor.debug.pcaprecord import RAW, Direction, Record
from interceptor.debug.viewpoint import Role, Viewpoint

LARGEST = 20_000  # packets held at most; then the oldest goes on before its time
HEAVIEST = 64 << 20  # bytes of theirs, likewise


@dataclass(slots=True)
class Sighting:
    """One packet, ``link`` its LINKTYPE_, ``length`` its bytes on the wire. ``uid``: whose
    socket sent it, where that was asked for and found."""

    time_ns: int
    device: str
    role: Role
    link: int
    data: bytes
    length: int
    direction: Direction
    packet: Datagram

    def record(self, role: Role, comment: str) -> Record:
        """As it was seen, whole."""
        view = Viewpoint(role, self.device).name
        return Record(
            self.time_ns, view, self.link, self.data, self.length, comment, self.direction
        )

    def inner(self, role: Role, comment: str, packet: bytes | None = None) -> Record:
        """From its IP header on, of no link; or another ``packet`` made of it."""
        data = self.packet.packet if packet is None else packet
        cut = self.length - len(self.data)
        return Record(
            self.time_ns, role.value, RAW, data, len(data) + max(cut, 0), comment, self.direction
        )


@dataclass(slots=True)
class Hold:
    """``span_s`` is how long a packet waits for others and for what is known of it."""

    span_s: float = 0.25
    _heap: list[tuple[int, int, float, Sighting]] = field(default_factory=list)
    _count: int = 0
    _bytes: int = 0

    def push(self, sighting: Sighting, now_s: float) -> None:
        """``now_s``: of a clock that never jumps."""
        heapq.heappush(self._heap, (sighting.time_ns, self._count, now_s, sighting))
        self._count += 1
        self._bytes += len(sighting.data)

    def pop(self, now_s: float) -> Iterator[Sighting]:
        """What has waited long enough, in the order of its time."""
        heap = self._heap
        while heap and (heap[0][2] + self.span_s <= now_s or self._is_full()):
            yield self._next()

    def drain(self) -> Iterator[Sighting]:
        """All that is left."""
        while self._heap:
            yield self._next()

    def _is_full(self) -> bool:
        return len(self._heap) > LARGEST or self._bytes > HEAVIEST

    def _next(self) -> Sighting:
        found = heapq.heappop(self._heap)[3]
        self._bytes -= len(found.data)
        return found
