"""This VM as a member of a mesh, while the daemon runs: identity, secrets, registration, health.

Each part opens by itself and tries again where it fails: DNS and capture go on whatever becomes
of it. With the defaults there is no part, and nothing is imported for one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from interceptor.config import Config
from interceptor.host.endure import PASSING
from interceptor.issuing import Issuing
from interceptor.mesh.table import EMPTY, MeshTable
from interceptor.proving import Proving
from interceptor.sidecar.admin import LIVE, Admin
from interceptor.sidecar.managed import Managed
from interceptor.sidecar.process import State

if TYPE_CHECKING:
    from interceptor.host.admission import Pair
    from interceptor.workload.upkeep import Upkeep

log = structlog.get_logger(__name__)

Labels = tuple[str, ...]


class Membership:
    """`prepare` it at the start, `open` it before the sidecar; `withdraw` before the sidecar is
    taken away, `close` after."""

    def __init__(self, config: Config, sidecar: Callable[[], Managed | None]) -> None:
        self._config = config
        self._sidecar = sidecar
        self._table = EMPTY
        self._upkeep: Upkeep | None = None
        self.issuing = Issuing(config)
        self.proving = Proving(config)

    async def prepare(self) -> None:
        """Who this VM is, from the disk if need be: a control plane may want it before it gives
        the first table. Never raises."""
        await self.issuing.open()
        try:
            await self.proving.open()
        except PASSING as error:
            log.error("this VM has no identity", why=str(error))

    async def open(self) -> None:
        """Begin every other part that is configured. Never raises for one that cannot."""
        workload = self._config.workload
        if workload.group or workload.entry or workload.probe or workload.startup:
            from interceptor.workload.upkeep import Upkeep

            self._upkeep = Upkeep(self._config, self._why_not_live, self._tell_health)
            self._upkeep.follow(self._table.groups)
            await self._upkeep.open()

    def follow(self, table: MeshTable) -> None:
        """The mesh has changed. It may be known before this is open."""
        self._table = table
        if self._upkeep is not None:
            self._upkeep.follow(table.groups)

    async def withdraw(self, *, keep: bool) -> None:
        """Have nobody sent here any more, unless a daemon follows this one (``keep``)."""
        if self._upkeep is not None:
            await self._upkeep.withdraw(keep=keep)

    async def close(self) -> None:
        """End what the sidecar needed until now."""
        await self.proving.close()
        await self.issuing.close()

    def pair(self) -> Pair | None:
        """This VM's certificate, for whoever calls the control plane; None: it has none."""
        return self.proving.pair()

    async def _why_not_live(self) -> str:
        """Of the sidecar, by which the mesh's calls come."""
        config, managed = self._config.sidecar, self._sidecar()
        if config.mode == "none":
            return ""
        if config.mode == "external":
            found = await asyncio.to_thread(Admin(config.admin_port).state)
            return "" if found == LIVE else f"the sidecar is {found.lower() or 'away'}"
        if managed is None:
            return "the sidecar is not there yet"
        state = managed.process.state
        return "" if state is State.LIVE else f"the sidecar is {state.value}"

    async def _tell_health(self, is_healthy: bool, why: str) -> None:
        pass

    def status(self) -> dict[str, object]:
        """The parts of `status` that are about this VM as a member."""
        return {
            "identity": self.proving.status(),
            "authority": self.issuing.status(),
            "workload": {} if self._upkeep is None else self._upkeep.status(),
        }
