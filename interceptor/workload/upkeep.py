"""What keeps this VM's service known to the mesh: its health probed, its entry written, both
followed as the group, the host's addresses and the service itself change."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

import structlog

from interceptor.config import Config, Probe
from interceptor.host import uplink, wait
from interceptor.host.endure import endure
from interceptor.mesh.model import Address, WorkloadGroup
from interceptor.workload import entry, probe, provider, registration
from interceptor.workload.entry import Fitness
from interceptor.workload.health import RESULTS, TURNS, Health, Rim, Wanted
from interceptor.workload.outcome import Outcome, State
from interceptor.workload.probe import Place
from interceptor.workload.provider import Provider
from interceptor.workload.registration import Facts, Registration

log = structlog.get_logger(__name__)

LOCALHOST = "127.0.0.1"
STOPPING = "interceptor is being stopped"

Sidecar = Callable[[], Awaitable[str]]
"""Why the sidecar takes no calls now; empty where it does, or there is none to wait for."""
Tell = Callable[[bool, str], Awaitable[None]]
"""Tells the control plane that the service is fit, or is not and why."""


def is_wanted(config: Config) -> bool:
    """Whether there is anything to keep up."""
    workload = config.workload
    return bool(workload.group or workload.entry or workload.probe or workload.startup)


def find_group(config: Config, groups: Iterable[WorkloadGroup]) -> WorkloadGroup | None:
    """The group that this VM is of, where the mesh's documents have it."""
    wanted = (config.node.namespace, config.workload.group)
    return next((each for each in groups if (each.namespace, each.name) == wanted), None)


def decide_probes(config: Config, group: WorkloadGroup | None) -> Wanted:
    """What is probed: the configuration's probes, else the group's."""
    workload = config.workload
    readiness = workload.probe or (group.probe if group is not None else None)
    return Wanted(readiness, workload.startup)


def takes_mutual_tls(config: Config) -> bool:
    """Whether this VM's sidecar, configured by us, has a certificate to show."""
    sidecar = config.sidecar
    if sidecar.mode != "managed" or sidecar.mtls == "disable" or config.mesh.source == "istiod":
        return False
    return provider.observe(config) is not Provider.NONE


class Upkeep:
    """Open it, let it `follow` the mesh's groups, `withdraw` before the sidecar is taken away."""

    def __init__(self, config: Config, sidecar: Sidecar, tell: Tell) -> None:
        self._config = config
        self._tell = tell
        self._group: WorkloadGroup | None = None
        self._addresses: tuple[Address, ...] = config.node.addresses
        self._registration = Registration(config) if config.workload.entry is not None else None
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[object]] = []
        self._probing: asyncio.Task[object] | None = None
        self._was_healthy = self._is_open = self._is_secure = False
        self._is_withdrawn = False
        self.problem = ""
        rim = Rim(self._observe, sidecar, self._take)
        self.health = Health(rim, decide_probes(config, None))

    async def open(self) -> None:
        """Begin. What fails is tried again, and told."""
        self._is_open = True
        self._changed.set()
        if self._registration is not None:
            self._was_healthy = await asyncio.to_thread(self._registration.was_healthy)
            self._is_secure = await asyncio.to_thread(takes_mutual_tls, self._config)
            self._spawn(endure("this VM's entry", self._keep_entry))
        if not self._config.node.addresses:
            self._spawn(endure("this VM's address", self._follow_addresses))
        self._probe()

    def follow(self, groups: Iterable[WorkloadGroup]) -> None:
        """The mesh has these groups now."""
        found = find_group(self._config, groups)
        if found is None or found == self._group:
            return
        self._group = found
        wanted = decide_probes(self._config, found)
        if wanted != self.health.wanted:
            self.health.wanted = wanted
            self._probe()
        self._changed.set()

    async def withdraw(self, *, keep: bool) -> bool:
        """End the probes and, unless ``keep``, take the entry back. Whether others have to notice
        something now."""
        tasks = [*self._tasks, *([self._probing] if self._probing is not None else [])]
        self._tasks, self._probing = [], None
        if tasks:
            await wait.cancelled(tasks)
        if keep or self._is_withdrawn:
            return False
        self._is_withdrawn = True
        if self.health.verdict.state is State.HEALTHY:
            # istiod lets a member that has gone stay for ten seconds, but not one that is unfit.
            await self._tell(False, STOPPING)
        if self._registration is not None:
            await asyncio.to_thread(self._registration.revert)
        return self.health.verdict.state is State.HEALTHY or bool(self.name)

    def _spawn(self, work: Awaitable[object]) -> None:
        task = asyncio.ensure_future(work)
        task.add_done_callback(self._note_end)
        self._tasks.append(task)

    def _probe(self) -> None:
        """Begin to probe, or anew by another probe; the verdict stands until then."""
        if self._probing is not None:
            self._probing.cancel()
            self._probing = None
        if self.health.wanted and self._is_open:
            work = endure("the service's health", self.health.run)
            self._probing = asyncio.get_running_loop().create_task(work)
            self._probing.add_done_callback(self._note_end)

    def _note_end(self, task: asyncio.Task[object]) -> None:
        """A fault of ours ends one part, and nothing else."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.problem = f"a fault of interceptor itself: {type(error).__name__}: {error}"
            log.error("a part of the workload has ended", why=self.problem, exc_info=error)

    async def _observe(self, wanted: Probe) -> Outcome:
        host = str(self._addresses[0]) if self._addresses else LOCALHOST
        return await probe.observe(wanted, Place(host, self._config.capture.mark))

    async def _take(self, is_healthy: bool, why: str) -> None:
        self._changed.set()
        await self._tell(is_healthy, why)

    async def _follow_addresses(self) -> None:
        config = self._config
        hosts = config.mesh.istiod.addresses if config.mesh.source == "istiod" else ()
        names = [each.rpartition(":")[0] for each in hosts]
        async for _ in wait.link_changes():
            found = await asyncio.to_thread(uplink.observe, names)
            if found and found != self._addresses:
                self._note_addresses(found)

    def _note_addresses(self, found: tuple[Address, ...]) -> None:
        texts = list(map(str, found))
        if self._addresses and self._config.mesh.source == "istiod":
            # It stands in the node of every stream, Envoy's as well, and Envoy keeps its own.
            now = ", ".join(texts)
            self.problem = f"this VM is {now} now: restart interceptor, so that istiod knows it"
            log.warning("this VM's addresses have changed; restart", addresses=texts)
        else:
            log.info("this VM's addresses", addresses=texts)
        self._addresses = found
        self._changed.set()

    async def _keep_entry(self) -> None:
        """The entry as things are, each time that something has changed."""
        assert self._registration is not None
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                apply = partial(self._registration.apply, self._facts())
                await asyncio.to_thread(apply)
            except BaseException as error:
                self._changed.set()  # what is not written is not so, and is tried again
                if isinstance(error, OSError) and (path := self._config.workload.entry):
                    self._registration.problem = registration.hindrance(path, error)
                raise

    def _facts(self) -> Facts:
        address = self._addresses[0] if self._addresses else None
        return Facts(self._group, address, self._fitness(), self._is_secure)

    def _fitness(self) -> Fitness:
        """Until the first verdict: as an agent before us left it, else not fit."""
        verdict = self.health.verdict
        if not self.health.wanted:
            return Fitness()
        if verdict.state is State.UNKNOWN:
            return Fitness(True) if self._was_healthy else Fitness(False, entry.NOT_YET)
        if verdict.state is State.HEALTHY:
            return Fitness(True)
        return Fitness(False, self.health.why)

    @property
    def name(self) -> str:
        """Of this VM's entry; empty while it has none. With istiod it is the one to be made there,
        by the same rule."""
        config = self._config
        if self._registration is not None:
            return self._registration.name
        if config.mesh.source != "istiod" or not config.workload.group or not self._addresses:
            return ""
        return entry.name_of(config.workload.group, self._addresses[0], config.node.network)

    def figures(self) -> dict[str, dict[tuple[str, ...], float]]:
        """Families and their values, without the prefix."""
        counts, registration = self.health.counts, self._registration
        found: dict[str, dict[tuple[str, ...], float]] = {}
        if self.health.wanted:
            is_healthy = self.health.verdict.state is State.HEALTHY
            found = {
                "workload_healthy": {(): float(is_healthy)},
                "workload_probes": {(each,): float(counts[each]) for each in RESULTS},
                "workload_turns": {(each,): float(counts[each]) for each in TURNS},
                "workload_probe_seconds": {(): self.health.took_s},
            }
        if registration is not None:
            found["workload_registered"] = {(): float(bool(registration.name))}
        return found

    def status(self, refusal: str = "") -> dict[str, object]:
        """For `status`: what this VM is registered as, and how its service is. ``refusal``: what
        the control plane said last against our streams."""
        config = self._config
        problem = self._registration.problem if self._registration is not None else ""
        return {
            "group": config.workload.group,
            "entry": self.name,
            "file": "" if config.workload.entry is None else str(config.workload.entry),
            "problem": self.problem or problem or registration.advise(config, refusal),
            "addresses": list(map(str, self._addresses)),
            "health": self.health.status(),
        }
