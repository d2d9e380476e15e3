"""Where the agent stands: what plan and answers depend on besides the mesh's documents.

The host (addresses, routes, resolv.conf), the mesh's addresses that need capture, and whether
a sidecar is there to take it. Each is followed while the daemon runs, and the guard is given
the plan that results.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from interceptor import assembly
from interceptor.capture import fact, plan
from interceptor.capture.backend import Choice
from interceptor.capture.coverage import Coverage
from interceptor.capture.guard import Guard
from interceptor.capture.plan import Facts, Plan
from interceptor.config import Config
from interceptor.host import resolver, wait
from interceptor.mesh.model import Locale
from interceptor.mesh.table import Difference
from interceptor.sidecar import pid
from interceptor.sidecar.process import State

log = structlog.get_logger(__name__)


class Situation:
    """What is so around one daemon now, and the plan that follows from it."""

    def __init__(
        self,
        config: Config,
        facts: Facts,
        choice: Choice,
        guard: Guard,
        stopping: asyncio.Event,
    ) -> None:
        self.facts = facts
        self.locale: Locale = assembly.locale(config)
        self.bypasses = assembly.bypasses_by_rules(config, choice)
        mode = config.sidecar.mode
        is_relayed = mode == "managed" and config.mesh.source == "istiod"
        self.follows_port = self.bypasses and (mode == "external" or is_relayed)
        self._may_bypass = config.agent.on_sidecar_loss == "bypass"
        self._config = config
        self._guard = guard
        self._stopping = stopping
        self._is_away = False
        self._coverage = Coverage(plan.build(config, facts))

    def plan(self) -> Plan:
        """What to capture, as things are."""
        built = plan.build(self._config, self.facts).exchange(self._coverage.places())
        return built.only(plan.Plane.DNS) if self._is_away else built

    def look_for_sidecar(self) -> None:
        """Whether somebody else's Envoy is there, before the first plan is made."""
        port = self._config.sidecar.outbound_port
        is_away = not pid.is_listening(port)
        self._is_away = is_away and self.bypasses
        if is_away and not self.bypasses:
            log.warning("no sidecar listens", port=port, captured="connections are refused")

    def note_sidecar(self, state: State) -> None:
        """How the managed one is, before the first plan is made. It may have nobody yet who
        configures it, and then it does not listen."""
        unbound = self.follows_port and not pid.is_listening(self._config.sidecar.outbound_port)
        self._is_away = unbound or bool(self.needs_bypass(state))
        if state is not State.LIVE and not self._may_bypass:
            log.warning("the sidecar is not live", captured="connections are refused")

    def cover(self, difference: Difference) -> bool:
        """Follow the mesh. Whether there are other addresses to capture now."""
        return self._coverage.follow(difference)

    async def exchange(self) -> None:
        """Capture the mesh's addresses of now."""
        await self._guard.update(self._coverage.places())

    async def follow_resolver(self, tell: Callable[[], Awaitable[None]]) -> None:
        """resolv.conf: its search list changes names, its servers may change the plan.
        Whoever answers by the `locale` is told of a new one."""
        path = self._config.dns.resolv_conf
        await self._retell(tell)  # what happened while we started
        async for _ in wait.file_changes(path, resolver.UPSTREAM):
            log.info("resolv.conf has changed", path=str(path))
            await self._retell(tell)
            await self._renew()

    async def _retell(self, tell: Callable[[], Awaitable[None]]) -> None:
        before, self.locale = self.locale, assembly.locale(self._config)
        if self.locale != before:
            await tell()

    async def follow_links(self) -> None:
        """Addresses and routes decide what is local and which VIP range needs a route."""
        async for _ in wait.link_changes():
            await self._renew()
            await self._guard.check()  # our own routes may be among what was removed

    async def follow_port(self) -> None:
        """Somebody else's Envoy tells nobody of its comings and goings, and ours may be live with
        somebody else's configuration, and without the listener that captured connections go to."""
        async for is_there in wait.listening_changes(self._config.sidecar.outbound_port):
            await self.bypass(not is_there)

    def needs_bypass(self, state: State) -> bool | None:
        """Whether a managed sidecar is to be left out; None: that stays as it is. Programs see
        for themselves whether it listens, but not whether it hangs."""
        if state is State.LIVE:
            port = self._config.sidecar.outbound_port
            listens = not self.follows_port or pid.is_listening(port)
            return False if self._may_bypass and listens else None
        return True if self.bypasses or (self._may_bypass and state is State.HUNG) else None

    async def bypass(self, away: bool) -> None:
        """on_sidecar_loss: bypass. While Envoy is away nothing is sent to it."""
        if away is self._is_away:
            return
        self._is_away = away
        try:
            if not self._stopping.is_set():
                await self._guard.install(self.plan())
        except BaseException:
            self._is_away = not away  # what is not installed is not so, and is tried again
            raise

    async def _renew(self) -> None:
        """The plan for the host as it is now, where that is another one."""
        facts = await asyncio.to_thread(fact.facts, self._config)
        if facts != self.facts:
            before, self.facts = self.facts, facts
            log.info("the host has changed; the plan follows")
            try:
                await self._guard.install(self.plan())
            except BaseException:
                self.facts = before  # what is not installed is not so, and is tried again
                raise
