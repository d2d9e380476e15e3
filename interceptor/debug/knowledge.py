"""What the mesh says of names and addresses, at hand while somebody listens.

Worked out when it is first asked for, and anew when the table has changed: at once where that is
little, else by a thread, while the last one, or nothing, is told. It costs memory as the DNS
worker's table does (50 MB for 100,000 hosts), and `forget` gives that back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

from interceptor.mesh.answer import Answers
from interceptor.mesh.model import Address, Host, Locale, Network
from interceptor.mesh.outcome import Resolution
from interceptor.mesh.table import MeshTable

FEW = 500  # hosts that are worked out in the loop itself: about 10 ms
PAUSE_S = 5.0  # between two times that a large table is worked out

Called = dict[tuple[Address, int], str]


@dataclass(slots=True)
class Known:
    """One table, to be asked. ``called``: by address and port; port 0 is any other.
    ``offered``: by an endpoint's address and port. ``wide``: CIDRs."""

    table: MeshTable
    answers: Answers
    called: Called = field(default_factory=dict)
    offered: Called = field(default_factory=dict)
    wide: list[tuple[Network, str]] = field(default_factory=list)

    def add(self, host: Host) -> None:
        for address in host.addresses:
            self.called.setdefault((address, 0), host.name)
            for port in host.ports:
                self.called.setdefault((address, port.number), host.name)
        for endpoint in host.endpoints:
            if not isinstance(endpoint.address, str):
                for port in host.ports:
                    place = endpoint.address, endpoint.port(port)
                    self.offered.setdefault(place, host.name)
        self.wide += ((network, host.name) for network in host.networks)


def build(table: MeshTable, locale: Locale) -> Known:
    """Everything of a table."""

    def describe(name: str) -> str:
        host = table.hosts.get(name)
        return host.origin if host is not None else ""

    known = Known(table, Answers.build(table.hosts.values(), locale, describe))
    for host in table.hosts.values():
        known.add(host)
    return known


class Knowledge:
    """``table`` and ``locale`` give those of now. To be asked in an event loop."""

    def __init__(self, table: Callable[[], MeshTable], locale: Callable[[], Locale]) -> None:
        self._table = table
        self._locale = locale
        self._known: Known | None = None
        self._task: asyncio.Task[None] | None = None
        self._began_s = float("-inf")

    def host(self, address: Address, port: int, arrives: bool) -> str:
        """The mesh's host that is called there, or offered there; empty without one."""
        known = self._now()
        if known is None:
            return ""
        if arrives:
            return known.offered.get((address, port), "")
        found = known.called.get((address, port)) or known.called.get((address, 0))
        return found or next((name for network, name in known.wide if address in network), "")

    def resolve(self, name: str, qtype: int) -> Resolution | None:
        """What the mesh answers; None as long as that is not at hand."""
        known = self._now()
        return None if known is None else known.answers.resolve(name, f"TYPE{qtype}")

    def forget(self) -> None:
        self._known, self._began_s = None, float("-inf")
        if self._task is not None:
            self._task.cancel()

    def _now(self) -> Known | None:
        table = self._table()
        if self._known is not None and self._known.table is table:
            return self._known
        if len(table) <= FEW:
            self._known = build(table, self._locale())
        elif self._task is None and monotonic() - self._began_s >= PAUSE_S:
            self._began_s = monotonic()
            self._task = asyncio.get_running_loop().create_task(self._build(table))
        return self._known

    async def _build(self, table: MeshTable) -> None:
        try:
            self._known = await asyncio.to_thread(build, table, self._locale())
        finally:
            self._task = None
