"""Which of the mesh's addresses need capture of their own, kept up host by host."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

from interceptor.capture.plan import Place, Plan, Plane
from interceptor.mesh.model import Host
from interceptor.mesh.table import Difference


class Coverage:
    """The mesh's addresses outside of the networks that are captured anyway, counted.

    With the VIP ranges captured as a whole this is small, however large the mesh; where no
    TCP is captured nobody asks for them, and nothing is counted.
    """

    def __init__(self, plan: Plan) -> None:
        self._is_wanted = Plane.TCP in plan.planes
        self._spans: dict[int, list[tuple[int, int]]] = {4: [], 6: []}
        for network in plan.fixed:
            span = (int(network.network_address), int(network.broadcast_address))
            self._spans[network.version].append(span)
        self._counts: Counter[Place] = Counter()

    def add(self, hosts: Iterable[Host]) -> None:
        for host in hosts if self._is_wanted else ():
            self._counts.update(self._uncovered(host))

    def follow(self, difference: Difference) -> bool:
        """Whether the places changed. Looks at those of the difference only, and at no others."""
        if not self._is_wanted:
            return False
        if not difference.before:
            known = len(self._counts)
            self.add(difference.upserted)
            return len(self._counts) != known
        changes = Counter(place for host in difference.upserted for place in self._uncovered(host))
        for host in difference.before:
            changes.subtract(self._uncovered(host))
        has_moved = False
        for place, change in changes.items():
            has_moved |= self._count(place, change)
        return has_moved

    def _count(self, place: Place, change: int) -> bool:
        """Whether ``place`` has come or gone by so many hosts more or fewer."""
        was = self._counts.get(place, 0)
        if was + change > 0:
            self._counts[place] = was + change
        else:
            self._counts.pop(place, None)
        return (was > 0) != (was + change > 0)

    def places(self) -> tuple[Place, ...]:
        return tuple(self._counts)

    def _uncovered(self, host: Host) -> list[Place]:
        every: tuple[Place, ...] = (*host.addresses, *host.networks)
        return [place for place in every if not self._covers(place)]

    def _covers(self, place: Place) -> bool:
        # Without making networks of addresses: with 100,000 hosts that took two seconds.
        if isinstance(place, IPv4Address | IPv6Address):
            first = last = int(place)
        else:
            first, last = int(place.network_address), int(place.broadcast_address)
        return any(low <= first and last <= high for low, high in self._spans[place.version])
