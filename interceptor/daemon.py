"""The daemon: the only place that wires objects and runs the loop.

It starts from the inside out (table, DNS worker, sidecar, then rules), so that
nothing is captured before somebody is there to take it, and stops the other way
round.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Coroutine, Iterable
from functools import partial
from time import monotonic

import structlog

from interceptor import affiliation, assembly, loss, report, witness
from interceptor.capture import tenure
from interceptor.capture.backend import Choice
from interceptor.capture.guard import Guard
from interceptor.capture.plan import Facts
from interceptor.config import Config
from interceptor.debug import control, http
from interceptor.dns.plane import Plane
from interceptor.errors import InterceptorError, Problem
from interceptor.host import memory, systemd, wait
from interceptor.host.confirmation import Confirmation
from interceptor.host.endure import endure
from interceptor.host.lifeline import Lifeline
from interceptor.membership import Membership
from interceptor.mesh.model import Host, Locale
from interceptor.mesh.table import EMPTY, MeshTable
from interceptor.reload import Reload
from interceptor.sidecar.managed import Managed
from interceptor.sidecar.process import State
from interceptor.situation import Situation
from interceptor.source.event import Event, Loaded, Standing

log = structlog.get_logger(__name__)

LOOK_S = 0.3  # between two looks at what a starting worker needs
LARGE = 10_000  # hosts that came at once: enough for their leftovers to be worth a look


class Daemon:
    """One run of the agent. Its attributes are what `report` reads."""

    def __init__(
        self,
        config: Config,
        facts: Facts,
        choice: Choice,
        events: AsyncIterator[Event],
        lifeline: Lifeline,
    ) -> None:
        self.config = config
        self.lifeline = lifeline
        self._events = events
        self.choice = choice
        backend = assembly.open_backend(config, choice)
        self.guard = Guard(backend)
        self.tenure = tenure.choose(config, backend.sites, backend.names)
        self.plane: Plane | None = None
        self.sidecar: Managed | None = None
        self.membership = Membership(config, lambda: self.sidecar)
        self.hub = witness.hub(self)
        self.table: MeshTable = EMPTY
        self.has_table = self.is_started = False
        self.problems: tuple[Problem, ...] = ()
        self.rejected, self.load_s = 0, 0.0
        self.began_s = self.loaded_s = self.told_s = monotonic()
        self.standing = Standing()
        self._confirmation = Confirmation(config.agent.run_dir, lifeline)
        self.confirmed, self.stopping = self._confirmation.given, asyncio.Event()
        self.situation = Situation(config, facts, choice, self.guard, self.stopping)
        self.reload = Reload(config, self.stopping, self._confirmation.is_pending)
        self._listeners: http.Listeners | None = None
        self._failed = False
        self._told = asyncio.Event()

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
            self.plane.on_hold = self.lifeline.hold
            self.plane.start()
        await self.membership.prepare()

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
        config, facts = self.config, self.situation.facts
        pages = report.pages(self, self._confirmation.give)
        path = config.agent.run_dir / control.SOCKET_NAME
        self._listeners = await http.serve(pages, config.agent.listen, path)
        if self.plane is not None:
            await self._open_plane(self.plane)
        if config.sidecar.mode == "managed":
            settings_of = await asyncio.to_thread(assembly.sidecar_settings, config, facts)
            join = tuple(self.tenure.wrap(())) if self.tenure is not None else ()
            belonging = await asyncio.to_thread(affiliation.observe, config, self.membership.pair)
            self.sidecar = Managed(config, settings_of, belonging, self._on_sidecar, join)
            await self.sidecar.open(self.table)
            self.situation.note_sidecar(self.sidecar.process.state)
        elif config.sidecar.mode == "external" and config.capture.enabled:
            self.situation.look_for_sidecar()
        if self.tenure is not None:
            await asyncio.to_thread(self.tenure.register)
        await self.guard.install(self.situation.plan())
        await self.guard.sweep()
        await self.membership.open()
        for line in self.choice.why:
            log.info(line)
        self.is_started = True
        self.lifeline.tell("READY=1", *loss.words(self.config, self.choice))
        log.info("ready", hosts=len(self.table), took_s=round(monotonic() - self.began_s, 2))

    async def _open_plane(self, plane: Plane) -> None:
        """Until its worker answers. What that needs is put back, for nobody watches it yet."""
        opening = asyncio.create_task(plane.open())
        while not (await asyncio.wait({opening}, timeout=LOOK_S))[0]:
            if self.tenure is not None:
                self.tenure.repin()
        try:
            opening.result()
        except TimeoutError as error:
            raise InterceptorError("the DNS worker gave no answer; it has said why") from error

    async def _serve(self, source: asyncio.Task[None], confirm_s: float | None) -> None:
        """Follow everything until told to stop."""
        watched: list[Coroutine[object, object, object]] = [
            endure("watching the rules", self.guard.follow),
            endure("following resolv.conf", self._follow_resolver),
            endure("following the links", self.situation.follow_links),
        ]
        if self.tenure is not None:
            watched.append(endure("the lease", self.tenure.keep))
        if self.situation.follows_port:
            watched.append(endure("watching for Envoy", self.situation.follow_port))
        if confirm_s is not None and not self.lifeline.is_confirmed:
            watched.append(self._await_confirmation(confirm_s))
        watchers = [source, *map(asyncio.create_task, watched)]
        stopped = asyncio.create_task(self.stopping.wait())
        try:
            waiting = {stopped, *watchers}
            while not stopped.done():
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            await self.membership.withdraw(keep=await self._keeps())
        finally:
            await wait.cancelled({*watchers, stopped})

    async def _stop(self) -> None:
        """Take back what `_start` did, as ``agent.on_exit`` says. Never raises half-way."""
        self.lifeline.tell("RELOADING=1" if self.reload.is_due else "STOPPING=1")
        keep = await self._keeps()
        log.info("stopping", leaves="rules and sidecar" if keep else "nothing")
        drain_s = self.config.agent.drain_s
        steps: list[Coroutine[object, object, object]] = [self.membership.withdraw(keep=keep)]
        if not keep:
            steps.append(self.guard.release())
        if self.sidecar is not None:
            steps.append(self.sidecar.close(None if keep else drain_s))
        elif not keep and self.config.sidecar.mode == "external":
            steps.append(wait.drained(self.config.sidecar.outbound_port, drain_s))
        if not keep:
            steps.append(self.guard.remove())
        steps += [self.membership.close(), self.hub.close()]
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

    async def _keeps(self) -> bool:
        """Whether what is installed waits for the next daemon: so configured, a reload, or
        systemd restarts us."""
        if self._failed:
            return False
        if self.reload.is_due or self.config.agent.on_exit == "keep":
            return True
        return await asyncio.to_thread(systemd.is_restarting)

    # --- what changes

    async def _adopt(self, event: Event) -> None:
        """Take a new table, or note why there is none."""
        self.standing, self.told_s = event.standing, monotonic()
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
        if first and (held := event.standing).recalled:
            age_s = round(held.age_s)
            log.warning("the last good table, from disk", documents=held.recalled, age_s=age_s)
        for warning in event.table.warnings if first else ():
            log.warning("table", warning=str(warning))
        log.info("table", hosts=len(event.table), took_s=round(event.elapsed_s, 3))
        self.membership.follow(event.table)
        moved = self.situation.cover(event.difference)
        if self.sidecar is not None:
            await self.sidecar.follow(event.difference)
        if is_large := len(event.difference.upserted) > LARGE:
            await asyncio.to_thread(memory.trim)
        if moved:
            await endure("the mesh's addresses", self.situation.exchange)
        if self.plane is not None:
            await (self.plane.load() if is_large else self.plane.send(event.difference))

    async def _follow_source(self) -> None:
        async for event in self._events:
            await self._adopt(event)
            self._told.set()

    def _on_sidecar(self, state: State) -> None:
        log.info("sidecar", state=state.value)
        if self.guard.plan is None:
            return
        if (is_away := self.situation.needs_bypass(state)) is not None:
            work = endure("the bypass", partial(self.situation.bypass, is_away))
            asyncio.get_running_loop().create_task(work)

    async def _follow_resolver(self) -> None:
        await self.situation.follow_resolver(self._retell)

    async def _retell(self) -> None:
        """Names are searched for in other domains."""
        if self.plane is not None:
            await self.plane.load()

    async def _await_confirmation(self, limit_s: float) -> None:
        """--confirm: all is taken back unless somebody says in time that it works."""
        if not await self._confirmation.wait(limit_s):
            self._failed = True
            self.stopping.set()

    def _view(self) -> tuple[Locale, Iterable[Host]]:
        return self.situation.locale, self.table.hosts.values()
