"""Gives aliases back that no connection uses: the programs only ever take them.

An alias belongs to a destination. A host that captures everything and calls
ever new destinations would use all of them up in the end, and new ones would
be refused.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Set
from dataclasses import dataclass, field

from interceptor.host import tcptable
from interceptor.host.bpfmap import BpfMap
from interceptor.host.layout import ALIAS4_BASE, ALIAS4_SLOTS, ALIAS6_PREFIX

FULLNESS = 0.5  # of a map, from which on aliases are given back
ALIAS6_HEAD = struct.pack("!3H", *ALIAS6_PREFIX)
MAPPED_HEAD = b"\0" * 10 + b"\xff\xff"


@dataclass(frozen=True, slots=True)
class Slots:
    """Slots of the two alias maps, as their keys: 4 and 8 bytes."""

    four: frozenset[bytes] = frozenset()
    six: frozenset[bytes] = frozenset()


def parse(text: str) -> Slots:
    """The slots that connections in /proc/net/tcp or tcp6 use, whatever their state."""
    four, six = set(), set()
    for row in tcptable.parse(text):
        for raw in map(tcptable.decode, (row.local, row.remote)):
            if raw.startswith(ALIAS6_HEAD):
                six.add(struct.pack("=Q", int.from_bytes(raw[8:], "big")))
                continue
            number = int.from_bytes(raw.removeprefix(MAPPED_HEAD), "big")
            if number >> 24 == ALIAS4_BASE >> 24 and number >> 22 & 3:
                four.add(struct.pack("=I", number & ALIAS4_SLOTS))
    return Slots(frozenset(four), frozenset(six))


def observe() -> Slots:
    """The slots that are in use in this network namespace."""
    four: frozenset[bytes] = frozenset()
    six: frozenset[bytes] = frozenset()
    for found in map(parse, tcptable.observe()):
        four, six = four | found.four, six | found.six
    return Slots(four, six)


@dataclass(slots=True)
class Aliases:
    """The two alias maps, which stay their owner's. `sweep` is to be called about each minute."""

    four: BpfMap
    six: BpfMap
    _idle: dict[int, frozenset[bytes]] = field(default_factory=dict)

    def sweep(self) -> int:
        """Give back what was idle at the last sweep too, where a map is half full. How many.

        Between a program's choice of an alias and the connection's being there
        to be seen lie microseconds: nothing that was idle for two sweeps is in
        that state, but for a destination that is called at this very moment,
        whose call is refused then.
        """
        return sum(self._sweep(*each) for each in self._crowded())

    def _crowded(self) -> Iterator[tuple[BpfMap, frozenset[bytes], frozenset[bytes]]]:
        """Each map that is rather full, its keys, and those of them that are used."""
        for each in (self.four, self.six):
            keys = frozenset(each.items())
            if len(keys) < FULLNESS * each.spec.max_entries:
                self._idle.pop(each.fd, None)
                continue
            used = observe()
            yield each, keys, used.four if each is self.four else used.six

    def _sweep(self, aliases: BpfMap, keys: Set[bytes], used: Set[bytes]) -> int:
        idle = frozenset(keys - used)
        gone = sorted(idle & self._idle.get(aliases.fd, frozenset()))
        self._idle[aliases.fd] = idle.difference(gone)
        aliases.delete_batch(gone)
        return len(gone)
