"""The installed plan and the host held together: apply, follow, put back.

The only place that calls a back end while the daemon runs. Back ends block, so
each call is made in a thread, one at a time.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from time import monotonic

from interceptor.capture import clean, drift, neighbour
from interceptor.capture.drift import Cause, Drift
from interceptor.capture.joined import Joined
from interceptor.capture.neighbour import Neighbour
from interceptor.capture.patience import Patience
from interceptor.capture.plan import Place, Plan, Plane
from interceptor.errors import InterceptorError
from interceptor.host import netlink

log = logging.getLogger(__name__)

SETTLE_S = 0.2  # a firewall that reloads makes many changes at once
BUSY_S = 1.0  # at most between two looks while others change things without end
GLANCE_S = 1.0  # between two glances where there is something that nobody tells of
LOOK_S: Mapping[str, float] = {"iptables-legacy": 2.0, "ebpf": 10.0}
"""How often the back ends are looked at although nothing was told: who does not take the lock
of legacy iptables is not heard of, and of programs a glance sees less than a look."""


class Guard:
    """One back end and the plan that is in force."""

    def __init__(self, backend: Joined) -> None:
        self.backend = backend
        self.plan: Plan | None = None
        self.repairs: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()  # of looks and of repairs
        self.drift = False
        self.patience = Patience()
        self._seen: dict[int, str] = {}
        self._lock = asyncio.Lock()
        self._checking = asyncio.Lock()  # one repair for one fault, whoever noticed it
        self._woken = asyncio.Event()
        self._looked_s, self._look_took_s = monotonic(), 0.0
        self._is_blind = False  # the last look failed

    async def install(self, plan: Plan) -> None:
        """Make the host follow ``plan``."""
        async with self._lock:
            await asyncio.to_thread(self.backend.apply, plan)
            self.plan = plan
            await self._remember()

    async def _remember(self) -> None:
        """What the host shows after our own change, where its tools print it in other words
        than ours. What is missing so soon has been removed already, and is not remembered."""
        assert self.plan is not None
        found = await asyncio.to_thread(self._compare, self.plan, {})
        self._seen = {number: seen for number, (seen, each) in found.items() if _is_usual(each)}

    def _compare(self, plan: Plan, usual: Mapping[int, str]) -> dict[int, tuple[str, Drift]]:
        """Each part of the back end that is not as it should be: what it shows, and how that
        differs."""
        found: dict[int, tuple[str, Drift]] = {}
        for number, part in enumerate(self.backend.parts):
            observed = part.backend.observe()
            wanted = usual[number] if number in usual else part.expected(plan)
            if observed != wanted:
                found[number] = observed, drift.diff(observed, wanted)
        return found

    async def sweep(self) -> None:
        """Remove what other back ends have here, once ours is in: no moment without capture."""
        async with self._lock:
            await asyncio.to_thread(clean.sweep, self.backend.names, self.backend.sites.bpf_dir)

    async def update(self, places: Iterable[Place]) -> None:
        """Exchange the mesh's addresses, in place."""
        every = tuple(places)
        async with self._lock:
            if self.plan is not None and Plane.TCP in self.plan.planes:
                self.plan = self.plan.exchange(every)
                await asyncio.to_thread(self.backend.update, every)
                if self._seen:
                    await self._remember()

    async def release(self) -> None:
        """Capture nothing new; what is open goes on."""
        if self.plan is not None:
            await self.install(self.plan.released())

    async def remove(self) -> None:
        """Take everything off the host."""
        async with self._lock:
            await asyncio.to_thread(self.backend.revert)
            self.plan = None

    async def follow(self) -> None:
        """Put back what others remove, until cancelled. Backs off where somebody insists."""
        descriptors = await asyncio.to_thread(self.backend.events)
        loop = asyncio.get_running_loop()
        try:
            for each in descriptors:
                loop.add_reader(each, self._hear, each)
            await self._check()  # what happened before anybody listened
            while True:
                if await self._is_time():
                    await self._check()
        finally:
            for each in descriptors:
                loop.remove_reader(each)
                os.close(each)

    def _hear(self, descriptor: int) -> None:
        netlink.drain(descriptor)
        self._woken.set()

    async def _is_time(self) -> bool:
        """Wait for a reason to look. Whether there is one, after all."""
        try:
            async with asyncio.timeout(self._pause_s()):
                await self._woken.wait()
        except TimeoutError:
            is_due = 0.0 in self.patience.waiting().values()
            if self._is_blind or is_due or monotonic() - self._looked_s >= self._look_s:
                return True
            return await asyncio.to_thread(self.backend.is_amiss)
        # Others may make changes without end, and each look costs what it costs.
        await asyncio.sleep(max(SETTLE_S, min(BUSY_S, 3 * self._look_took_s)))
        self._woken.clear()
        return True

    @property
    def _look_s(self) -> float:
        return min(LOOK_S.get(name, float("inf")) for name in self.backend.names)

    def _pause_s(self) -> float | None:
        """How long to wait for news; None: until there are some."""
        pauses = list(self.patience.waiting().values())
        if self._is_blind or not self.backend.is_told:
            pauses.append(GLANCE_S)
        return min(pauses, default=None)

    async def check(self) -> bool:
        """Look whether everything is in its place, and put it back. Whether something was not."""
        is_repaired = await self._check()
        if self.patience.waiting():
            self._woken.set()  # who follows has to know until when to wait
        return is_repaired

    async def _check(self) -> bool:
        async with self._checking:
            async with self._lock:
                if self.plan is None:
                    return False
                found = await self._look(self.plan)
            drifts = {number: each for number, (_, each) in found.items()}
            self.drift = bool(drifts)
            await self._see(drifts.values())
            due = {number: each for number, each in drifts.items() if self._is_due(each)}
            if due:
                await self._repair(due)
                self.drift = len(due) < len(drifts)
            return bool(due)

    async def _look(self, plan: Plan) -> dict[int, tuple[str, Drift]]:
        """As `_compare`; nothing where that fails, and then it is tried again soon."""
        began_s, was_blind = monotonic(), self._is_blind
        try:
            found = await asyncio.to_thread(self._compare, plan, self._seen)
            self._is_blind = False
        except (InterceptorError, OSError, ValueError) as error:
            found, self._is_blind = {}, True
            self.failures["look"] += 1
            if not was_blind:
                log.warning("what is installed could not be looked at: %s", error)
        self._looked_s = monotonic()
        self._look_took_s = self._looked_s - began_s
        return found

    async def _see(self, drifts: Iterable[Drift]) -> None:
        begun = self.patience.see(cause for each in drifts for cause in each.causes)
        if begun:
            words = ", ".join(f"{cause.value} in {pause_s:g} s" for cause, pause_s in begun.items())
            found = await asyncio.to_thread(self.neighbours)
            others = "; ".join(each.text() for each in found)
            log.warning(
                "somebody removes what is ours again and again; next repair: %s. "
                "At the same hooks: %s",
                *(words, others or "nobody that is to be seen"),
            )

    def _is_due(self, found: Drift) -> bool:
        return any(self.patience.wait_s(cause) <= 0 for cause in found.causes)

    async def _repair(self, due: Mapping[int, Drift]) -> None:
        causes = frozenset(cause for each in due.values() for cause in each.causes)
        self.patience.repaired(causes)
        async with self._lock:
            if self.plan is None:
                return
            for number in due:
                try:
                    await asyncio.to_thread(self.backend.parts[number].apply, self.plan)
                except (InterceptorError, OSError) as error:
                    self.failures["repair"] += 1
                    log.error("what was changed could not be put back: %s", error)
                    return
        self.repairs.update(cause.value for cause in causes)
        log.warning(
            "changed by somebody else and put back: %s", "; ".join(map(Drift.text, due.values()))
        )

    def waits(self) -> dict[str, float]:
        """What is wrong and not put back yet, because it is a fight, and for how many seconds."""
        waiting = self.patience.waiting()
        return {cause.value: round(left_s, 1) for cause, left_s in waiting.items() if left_s > 0}

    def neighbours(self) -> tuple[Neighbour, ...]:
        """Who else is at the hooks that we use, now. Blocks: programs are run."""
        return neighbour.observe(self.backend.names, self.backend.sites.capture)


def _is_usual(found: Drift) -> bool:
    """Whether a difference right after our own change is one to live with: other words for the
    same, or a route that the host had already or has no IPv6 for, which nothing can change."""
    of_routing = found.causes <= {Cause.ROUTES, Cause.ROUTING_RULES}
    return found.is_wording or (of_routing and not found.foreign)
