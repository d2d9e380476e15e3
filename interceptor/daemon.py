"""The daemon: the only place that wires objects and runs the loop.

It starts from the inside out (table, DNS worker, sidecar, then rules), so that
nothing is captured before somebody is there to take it, and stops the other way
round.
"""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import AsyncIterator, Coroutine, Iterable
from time import monotonic

import structlog

from interceptor import assembly, report
from interceptor.capture import fact, plan, tenure
from interceptor.capture.backend import Choice
from interceptor.capture.guard import Coverage, Guard
from interceptor.capture.plan import Facts, Plan
from interceptor.config import Config
from interceptor.debug import control, http
from interceptor.debug.log import open_log
from interceptor.dns.plane import Plane
from interceptor.errors import Problem
from interceptor.host import confirmation, lock, memory, notify, wait
from interceptor.mesh.model import Host, Locale
from interceptor.mesh.table import EMPTY, MeshTable
from interceptor.sidecar import pid
from interceptor.sidecar.managed import Managed
from interceptor.sidecar.process import State
from interceptor.source.event import Event, Loaded

log = structlog.get_logger(__name__)

LARGE = 10_000  # hosts that came at once: enough for their leftovers to be worth a look


class Daemon:
    """One run of the agent. Its attributes are what `report` reads."""

    def __init__(
        self, config: Config, facts: Facts, choice: Choice, events: AsyncIterator[Event]
    ) -> None:
        self.config = config
        self._events = events
        self.facts = facts
        self.choice = choice
        backend = assembly.open_backend(config, choice)
        self.guard = Guard(backend)
        self.tenure = tenure.choose(config, backend.sites, backend.names)
        self.plane: Plane | None = None
        self.sidecar: Managed | None = None
        self.table: MeshTable = EMPTY
        self.has_table = self.is_started = False
        self.problems: tuple[Problem, ...] = ()
        self.rejected, self.load_s = 0, 0.0
        self.began_s = self.loaded_s = monotonic()
        self.confirmed, self.stopping = asyncio.Event(), asyncio.Event()
        self._locale = assembly.locale(config)
        self._bypasses = assembly.bypasses_by_rules(config, choice)
        self._listeners: http.Listeners | None = None
        self._failed = self._is_away = False
        self._told = asyncio.Event()
        self._coverage = Coverage(plan.build(config, facts))

    async def run(self, confirm_s: float | None) -> int:
        """From nothing to a clean stop. Returns the exit code."""
        try:
            source = asyncio.create_task(self._follow_source(), name="source")
            await self._prepare()
            await self._first_table(source)
            await self._start()
            await self._serve(source, confirm_s)
        except BaseException:
            self._failed = True
            raise
        finally:
            await self._stop()
        return 1 if self._failed else 0

    async def _prepare(self) -> None:
        """What takes a moment and needs no table, while the table is read."""
        if self.tenure is not None:
            await asyncio.to_thread(self.tenure.open, assembly.open_journal(self.config))
        if self.config.dns.enabled:
            settings = assembly.worker_settings(self.config, self.choice)
            wrap = self.tenure.wrap if self.tenure is not None else list
            self.plane = Plane(settings, self._view, log.warning, wrap)
            self.plane.start()

    async def _first_table(self, source: asyncio.Task[None]) -> None:
        """Wait for what the source says first. A table that is refused as a whole is none,
        and the daemon runs without, until its input is mended."""
        told = asyncio.create_task(self._told.wait())
        await asyncio.wait({told, source}, return_when=asyncio.FIRST_COMPLETED)
        if source.done():
            told.cancel()
            source.result()
        for _ in range(20):
            if self.has_table:
                return
            await asyncio.sleep(0.05)

    async def _start(self) -> None:
        """Everything that takes what the rules will send, then the rules."""
        config = self.config
        pages, path = report.pages(self, self._confirm), config.agent.run_dir / control.SOCKET_NAME
        self._listeners = await http.serve(pages, config.agent.listen, path)
        if self.plane is not None:
            await self.plane.open()
        if config.sidecar.mode == "managed":
            settings_of = await asyncio.to_thread(assembly.sidecar_settings, config, self.facts)
            join = tuple(self.tenure.wrap(())) if self.tenure is not None else ()
            self.sidecar = Managed(config, settings_of, self._on_sidecar, join)
            await self.sidecar.open(self.table)
        elif config.sidecar.mode == "external" and config.capture.enabled:
            port = config.sidecar.outbound_port
            self._is_away = not pid.is_listening(port)
            if self._is_away and not self._bypasses:
                log.warning("no sidecar listens", port=port, captured="connections are refused")
        if self.tenure is not None:
            await asyncio.to_thread(self.tenure.register)
        await self.guard.install(self._plan())
        await self.guard.sweep()
        for line in self.choice.why:
            log.info(line)
        self.is_started = True
        notify.send("READY=1")
        log.info("ready", hosts=len(self.table), took_s=round(monotonic() - self.began_s, 2))

    async def _serve(self, source: asyncio.Task[None], confirm_s: float | None) -> None:
        """Follow everything until told to stop."""
        watched: list[Coroutine[object, object, object]] = [
            self.guard.follow(),
            self._follow_resolver(),
            self._follow_links(),
        ]
        if self.tenure is not None:
            watched.append(self.tenure.keep())
        if self._bypasses and self.config.sidecar.mode == "external":
            watched.append(self._follow_external())
        if confirm_s is not None:
            watched.append(self._await_confirmation(confirm_s))
        watchers = [source, *map(asyncio.create_task, watched)]
        stopped = asyncio.create_task(self.stopping.wait())
        try:
            waiting = {stopped, *watchers}
            while not stopped.done():
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for task in (*watchers, stopped):
                task.cancel()
            await asyncio.gather(*watchers, stopped, return_exceptions=True)

    async def _stop(self) -> None:
        """Take back what `_start` did, as ``agent.on_exit`` says. Never raises half-way."""
        notify.send("STOPPING=1")
        log.info("stopping", on_exit=self.config.agent.on_exit)
        keep = self.config.agent.on_exit == "keep" and not self._failed
        drain_s = self.config.agent.drain_s
        steps: list[Coroutine[object, object, object]] = []
        if not keep:
            steps.append(self.guard.release())
        if self.sidecar is not None:
            steps.append(self.sidecar.close(None if keep else drain_s))
        elif not keep and self.config.sidecar.mode == "external":
            steps.append(wait.drained(self.config.sidecar.outbound_port, drain_s))
        if not keep:
            steps.append(self.guard.remove())
        if self.plane is not None:
            steps.append(self.plane.close())
        if self._listeners is not None:
            steps.append(self._listeners.close())
        if self.tenure is not None:
            steps.append(asyncio.to_thread(self.tenure.close, keep=keep))
        for step in steps:
            try:
                await step
            except Exception:
                log.exception("a step of the stop failed; `interceptor clean` does the rest")
                self._failed = True

    # --- what changes

    async def _adopt(self, event: Event) -> None:
        """Take a new table, or note why there is none."""
        if not isinstance(event, Loaded):
            self.problems = event.problems
            self.rejected += 1
            for problem in event.problems:
                log.error("document refused; its last good state stays", problem=str(problem))
            return
        self.problems = event.problems
        first, self.has_table = not self.has_table, True
        self.table = event.table
        self.loaded_s, self.load_s = monotonic(), event.elapsed_s
        if first:
            # A full collection of 100,000 hosts takes a quarter of a second; what has been
            # read is there to stay, and has no cycles.
            gc.freeze()
        for warning in event.table.warnings if first else ():
            log.warning("table", warning=str(warning))
        log.info("table", hosts=len(event.table), took_s=round(event.elapsed_s, 3))
        moved = self._coverage.follow(event.difference)
        if self.sidecar is not None:
            await self.sidecar.follow(event.difference)
        if is_large := len(event.difference.upserted) > LARGE:
            await asyncio.to_thread(memory.trim)
        if moved:
            await self.guard.update(self._coverage.places())
        if self.plane is not None:
            await (self.plane.load() if is_large else self.plane.send(event.difference))

    async def _follow_source(self) -> None:
        async for event in self._events:
            await self._adopt(event)
            self._told.set()

    async def _follow_resolver(self) -> None:
        """resolv.conf: its search list changes names, its servers may change the plan."""
        path = self.config.dns.resolv_conf
        async for _ in wait.file_changes(path):
            log.info("resolv.conf has changed", path=str(path))
            self._locale = assembly.locale(self.config)
            if self.plane is not None:
                await self.plane.load()
            await self._renew()

    async def _follow_links(self) -> None:
        """Addresses and routes decide what is local and which VIP range needs a route."""
        async for _ in wait.link_changes():
            await self._renew()
            await self.guard.check()  # our own routes may be among what was removed

    async def _renew(self) -> None:
        """The plan for the host as it is now, where that is another one."""
        facts = await asyncio.to_thread(fact.facts, self.config)
        if facts != self.facts:
            self.facts = facts
            log.info("the host has changed; the plan follows")
            await self.guard.install(self._plan())

    def _on_sidecar(self, state: State) -> None:
        log.info("sidecar", state=state.value)
        if self._bypasses and self.guard.plan is not None:
            asyncio.get_running_loop().create_task(self._bypass(state is not State.LIVE))

    async def _follow_external(self) -> None:
        """Somebody else's Envoy tells nobody of its comings and goings."""
        async for is_there in wait.listening_changes(self.config.sidecar.outbound_port):
            await self._bypass(not is_there)

    async def _bypass(self, away: bool) -> None:
        """on_sidecar_loss: bypass. While Envoy is away nothing is sent to it."""
        self._is_away = away
        if not self.stopping.is_set():
            await self.guard.install(self._plan())

    async def _await_confirmation(self, limit_s: float) -> None:
        """--confirm: all is taken back unless somebody says in time that it works."""
        self._failed = not await confirmation.wait_confirmed(self.confirmed, limit_s)
        if self._failed:
            log.error("not confirmed in time; everything is taken back", limit_s=limit_s)
            self.stopping.set()

    # --- views

    def _plan(self) -> Plan:
        built = plan.build(self.config, self.facts).exchange(self._coverage.places())
        return built.only(plan.Plane.DNS) if self._is_away and self._bypasses else built

    def _view(self) -> tuple[Locale, Iterable[Host]]:
        return self._locale, self.table.hosts.values()

    def _confirm(self) -> bool:
        waited = not self.confirmed.is_set()
        self.confirmed.set()
        return waited


async def _run(config: Config, confirm_s: float | None) -> int:
    events = assembly.open_source(config)
    choice = await asyncio.to_thread(assembly.choose, config)
    facts = await asyncio.to_thread(fact.facts, config)
    daemon = Daemon(config, facts, choice, events)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, daemon.stopping.set)
    return await daemon.run(confirm_s)


def run(config: Config, confirm_s: float | None = None) -> int:
    """Run until SIGTERM or SIGINT. Returns the exit code; raises before anything is installed."""
    open_log(config.log.level, config.log.format)
    with lock.Lock(config.agent.run_dir / lock.NAME):
        return asyncio.run(_run(config, confirm_s))
