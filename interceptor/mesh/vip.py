"""Addresses for hosts that have none: stable, unique, the same everywhere.

Each host gets a *slot*, a number; its addresses are that number's places in
the IPv4 and in the IPv6 range. The slot is a hash of the name where that is
free, so that even without the state file nearly every host keeps its address;
other hosts come and go without moving it. A host that is gone keeps its slot
until there is no other one left, oldest first. Slots past the end of one range
give an address of the other family only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from zlib import crc32

import orjson

from interceptor.config import VipRanges
from interceptor.errors import Problem
from interceptor.mesh.model import Address

_TRIES = 8  # hashes of a name that are tried before the lowest free slot is taken
_REMEMBERED = 1 << 16  # slots kept for hosts that are gone
_DENSE = 1 << 20  # slots for which a byte each is set aside
_NAMED = 10  # hosts that a warning names; it counts the others


def _usable(network: IPv4Network | IPv6Network) -> tuple[int, int]:
    """(first address as a number, how many): network and broadcast address are left out."""
    first, size = int(network.network_address), network.num_addresses
    return (first + 1, size - 2) if size > 2 else (first, size)


class Allocation:
    """Which host has which slot."""

    def __init__(
        self,
        ranges: VipRanges,
        slots: Mapping[str, int] | None = None,
        retired: Mapping[str, int] | None = None,
    ) -> None:
        """``slots`` and ``retired`` (oldest first) as an earlier Allocation left them."""
        self.ranges = ranges
        self._first4, self._count4 = _usable(ranges.ipv4)
        self._first6, self._count6 = _usable(ranges.ipv6)
        self._both = min(self._count4, self._count6)
        self._end = max(self._count4, self._count6)
        self._slots: dict[str, int] = {}
        self._used = bytearray(min(self._both, _DENSE))  # one byte a slot, the rest in _far
        self._far: set[int] = set()
        self._retired: dict[str, int] = {}
        self._resting: set[int] = set()
        self._blocked: dict[int, int] = {}
        self._low, self._high = 0, self._both  # below these, no slot is free
        self._short: dict[str, None] = {}  # hosts with one family only
        self._without: dict[str, None] = {}  # hosts with none
        self.changes = 0  # counts up with each slot given or taken
        for name, slot in (slots or {}).items():
            if 0 <= slot < self._end and not self._is_used(slot):
                self._take(name, slot)
        for name, slot in (retired or {}).items():
            is_free = 0 <= slot < self._end and not self._is_used(slot)
            if is_free and slot not in self._resting:
                self._retired[name] = slot
                self._resting.add(slot)
        self.changes = 0

    @property
    def slots(self) -> Mapping[str, int]:
        return self._slots

    @property
    def retired(self) -> Mapping[str, int]:
        return self._retired

    def addresses(self, name: str) -> tuple[Address, ...]:
        """IPv4 before IPv6; empty for a host without a slot."""
        slot = self._slots.get(name)
        if slot is None:
            return ()
        if slot < self._both:
            return (IPv4Address(self._first4 + slot), IPv6Address(self._first6 + slot))
        if slot < self._count4:
            return (IPv4Address(self._first4 + slot),)
        return (IPv6Address(self._first6 + slot),)

    def covers(self, address: Address) -> bool:
        """Whether ``address`` is one that could be handed out."""
        return self._slot_of(address) is not None

    def allocate(self, name: str) -> None:
        """Gives ``name`` a slot, unless it has one or none is left."""
        if name in self._slots:
            return
        slot = self._choose(name)
        if slot is None:
            self._without[name] = None
        else:
            self._without.pop(name, None)
            self._take(name, slot)

    def release(self, name: str) -> None:
        """Takes the slot of ``name`` back, but keeps it for it as long as possible."""
        self._without.pop(name, None)
        slot = self._drop(name)
        if slot is None:
            return
        self._retired[name] = slot
        self._resting.add(slot)
        if len(self._retired) > _REMEMBERED:
            self._forget(next(iter(self._retired)))

    def block(self, address: Address) -> str | None:
        """Keeps ``address`` for the host that names it; returns the host that must move.

        Counted: each `block` wants its `unblock`.
        """
        slot = self._slot_of(address)
        if slot is None:
            return None
        self._blocked[slot] = self._blocked.get(slot, 0) + 1
        if not self._is_used(slot):
            return None
        owner = next(name for name, taken in self._slots.items() if taken == slot)
        self._drop(owner)
        return owner

    def unblock(self, address: Address) -> None:
        slot = self._slot_of(address)
        if slot is None:
            return
        self._blocked[slot] -= 1
        if not self._blocked[slot]:
            del self._blocked[slot]
            self._lower(slot)

    def warnings(self) -> tuple[Problem, ...]:
        """What the hosts that got too little have to be told, if any."""
        found = []
        if self._short:
            lacks_v6 = self._count6 < self._count4
            network = str(self.ranges.ipv6 if lacks_v6 else self.ranges.ipv4)
            found.append(_used_up("IPv6" if lacks_v6 else "IPv4", network, self._short))
        if self._without:
            both = f"{self.ranges.ipv4} and {self.ranges.ipv6}"
            found.append(_used_up("", both, self._without))
        return tuple(found)

    def _take(self, name: str, slot: int) -> None:
        self.changes += 1
        self._slots[name] = slot
        if slot < len(self._used):
            self._used[slot] = 1
        else:
            self._far.add(slot)
        if slot >= self._both:
            self._short[name] = None

    def _drop(self, name: str) -> int | None:
        slot = self._slots.pop(name, None)
        if slot is not None:
            self.changes += 1
            if slot < len(self._used):
                self._used[slot] = 0
            self._far.discard(slot)
            self._short.pop(name, None)
            self._lower(slot)
        return slot

    def _forget(self, name: str) -> int:
        slot = self._retired.pop(name)
        self._resting.discard(slot)
        self._lower(slot)
        return slot

    def _lower(self, slot: int) -> None:
        if slot < self._both:
            self._low = min(self._low, slot)
        else:
            self._high = min(self._high, slot)

    def _is_used(self, slot: int) -> bool:
        return bool(self._used[slot]) if slot < len(self._used) else slot in self._far

    def _is_free(self, slot: int) -> bool:
        return not (self._is_used(slot) or slot in self._resting or slot in self._blocked)

    def _choose(self, name: str) -> int | None:
        if name in self._retired:
            rested = self._forget(name)
            if self._is_free(rested):
                return rested
        text = name.encode()
        for salt in range(_TRIES if self._both else 0):
            slot = crc32(text, salt) % self._both
            if self._is_free(slot):
                return slot
        while self._low < self._both:
            if self._is_free(self._low):
                return self._low
            self._low += 1
        reused = self._reuse(self._both)
        return self._choose_high() if reused is None else reused

    def _choose_high(self) -> int | None:
        while self._high < self._end:
            if self._is_free(self._high):
                return self._high
            self._high += 1
        return self._reuse(self._end)

    def _reuse(self, end: int) -> int | None:
        """The slot below ``end`` that has rested longest."""
        for name, slot in self._retired.items():
            if slot < end and slot not in self._blocked:
                return self._forget(name)
        return None

    def _slot_of(self, address: Address) -> int | None:
        is_v4 = isinstance(address, IPv4Address)
        first, count = (self._first4, self._count4) if is_v4 else (self._first6, self._count6)
        slot = int(address) - first
        return slot if 0 <= slot < count else None


def _used_up(family: str, network: str, names: Iterable[str]) -> Problem:
    listed = list(names)
    shown = ", ".join(listed[:_NAMED]) + (", ..." if len(listed) > _NAMED else "")
    key = f"mesh.vip_ranges.{family.lower()}" if family else "mesh.vip_ranges"
    lack = f"no {family} address" if family else "no address"
    legal = f"a larger range: {len(listed)} hosts have {lack}: {shown}"
    return Problem("config", key, f"{network} is used up", legal)


def encode(allocation: Allocation) -> bytes:
    """The state file: JSON with the ranges, and name → slot."""
    return orjson.dumps(
        {
            "version": 1,
            "ipv4": str(allocation.ranges.ipv4),
            "ipv6": str(allocation.ranges.ipv6),
            "slots": dict(allocation.slots),
            "retired": dict(allocation.retired),
        }
    )


def decode(data: bytes, ranges: VipRanges) -> Allocation:
    """What `encode` wrote, in ``ranges``.

    Slots hold in other ranges too, as far as they fit. Raises ValueError where
    ``data`` is something else.
    """
    tree = orjson.loads(data)
    if not isinstance(tree, dict) or tree.get("version") != 1:
        raise ValueError("not a VIP state file of version 1")
    parts: list[dict[str, int]] = []
    for part in (tree.get("slots"), tree.get("retired")):
        if not isinstance(part, dict) or not all(type(slot) is int for slot in part.values()):
            raise ValueError("not a VIP state file: slots and retired map names to numbers")
        parts.append(part)
    allocation = Allocation(ranges)
    same = (tree.get("ipv4"), tree.get("ipv6")) == (str(ranges.ipv4), str(ranges.ipv6))
    end = allocation._end if same else allocation._both
    keep = [{name: slot for name, slot in part.items() if slot < end} for part in parts]
    return Allocation(ranges, *keep)
