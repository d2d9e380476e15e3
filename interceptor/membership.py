"""This VM as a member of a mesh, while the daemon runs: identity, secrets, registration, health.

Each part opens by itself and tries again where it fails: DNS and capture go on whatever becomes
of it. With the defaults there is no part, and nothing is imported for one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from interceptor.config import Config
from interceptor.host import wait
from interceptor.host.endure import PASSING
from interceptor.issuing import Issuing
from interceptor.mesh.table import EMPTY, MeshTable
from interceptor.proving import Proving
from interceptor.sidecar.admin import LIVE, Admin
from interceptor.sidecar.managed import Managed
from interceptor.sidecar.process import State

if TYPE_CHECKING:
    from interceptor.host.admission import Pair
    from interceptor.source.istiod import Upstream
    from interceptor.workload.upkeep import Upkeep

log = structlog.get_logger(__name__)

NOTICE_S = 1.0  # until other members have seen that a service is gone, before its sidecar goes
AGAIN_S = 5.0  # between two attempts to open a part
Work = Callable[[], Awaitable[None]]
Figures = Mapping[str, Mapping[tuple[str, ...], float]]


class Membership:
    """`prepare` it at the start, `open` it once sidecar and rules are there; `withdraw` before
    they are taken away, `close` after."""

    def __init__(self, config: Config, sidecar: Callable[[], Managed | None]) -> None:
        self._config = config
        self._sidecar = sidecar
        self._table = EMPTY
        self._upstream: Upstream | None = None
        self._upkeep: Upkeep | None = None
        self.issuing = Issuing(config)
        self.proving = Proving(config)
        self._problems: dict[str, str] = {}
        self._attempts: list[asyncio.Task[None]] = []

    async def prepare(self) -> None:
        """Who this VM is, from the disk if need be: a control plane may want it before it gives
        the first table. Never raises."""
        await self._begin("authority", self.issuing.open, self.issuing.close)
        await self._begin("identity", self.proving.open, self.proving.close)

    async def open(self) -> None:
        """Begin every other part that is configured. Never raises for one that cannot."""
        await self._begin("workload", self._open_upkeep, self._close_upkeep)

    async def _open_upkeep(self) -> None:
        workload = self._config.workload
        if workload.group or workload.entry or workload.probe or workload.startup:
            from interceptor.workload.upkeep import Upkeep

            self._upkeep = Upkeep(self._config, self._why_not_live, self._tell_health)
            self._upkeep.follow(self._table.groups)
            await self._upkeep.open()

    async def _close_upkeep(self) -> None:
        if self._upkeep is not None:
            await self._upkeep.withdraw(keep=True)

    async def _begin(self, part: str, work: Work, undo: Work) -> None:
        """Open a part, now or later: DNS and capture do not wait for it. Whatever it raises is
        its own failure, a package that is missing as well."""
        if await self._try(part, work, undo):
            return

        async def again() -> None:
            while True:
                await asyncio.sleep(AGAIN_S)
                if await self._try(part, work, undo):
                    return

        self._attempts.append(asyncio.create_task(again(), name=part))

    async def _try(self, part: str, work: Work, undo: Work) -> bool:
        try:
            await work()
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            if self._problems.get(part) != why:
                log.error("a part does not open; tried again", part=part, why=why)
                log.debug("where", part=part, exc_info=not isinstance(error, PASSING))
            self._problems[part] = why
            with suppress(Exception):
                await undo()
            return False
        self._problems.pop(part, None)
        return True

    def attach(self, upstream: Upstream | None) -> None:
        """The agent's own stream to the control plane, where there is one."""
        self._upstream = upstream
        if upstream is not None:
            upstream.certificate = self.pair

    def follow(self, table: MeshTable) -> None:
        """The mesh has changed. It may be known before this is open."""
        self._table = table
        if self._upkeep is not None:
            self._upkeep.follow(table.groups)

    async def withdraw(self, *, keep: bool) -> None:
        """Have nobody sent here any more, unless a daemon follows this one (``keep``). While the
        control plane is still heard; a second time is no harm."""
        attempts, self._attempts = self._attempts, []
        if attempts:
            await wait.cancelled(attempts)
        try:
            if self._upkeep is not None and await self._upkeep.withdraw(keep=keep):
                await asyncio.sleep(min(NOTICE_S, self._config.agent.drain_s))
        except PASSING as error:
            log.error("this VM's entry stays: remove it", why=str(error))

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
        if self._upstream is not None:
            await self._upstream.tell_health(is_healthy, why)

    def _error(self) -> str:
        """What the control plane said last against our stream, or Envoy's."""
        if self._upstream is not None and (error := self._upstream.status().get("last_error")):
            return str(error)
        managed = self._sidecar()
        uplink = managed.feed.status().uplink if managed is not None else None
        return uplink.last_error if uplink is not None and not uplink.is_up else ""

    def status(self) -> dict[str, object]:
        """The parts of `status` that are about this VM as a member."""
        tree: dict[str, dict[str, object]] = {
            "control_plane": {} if self._upstream is None else self._upstream.status(),
            "identity": self.proving.status(),
            "authority": self.issuing.status(),
            "workload": {} if self._upkeep is None else self._upkeep.status(self._error()),
        }
        for part, why in self._problems.items():
            tree[part] |= {"problem": why}
        return {**tree}

    def figures(self) -> Figures:
        """Families and their values, as `figure` has them, without the prefix."""
        upkeep = self._upkeep.figures() if self._upkeep is not None else {}
        upstream = self._upstream.figures() if self._upstream is not None else {}
        return {**self.proving.figures(), **upkeep, **upstream}
