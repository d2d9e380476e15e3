"""The health of this VM's service: probed for as long as the agent runs, told when it turns.

First the sidecar, without which nobody can call the service through the mesh; then, until it has
succeeded once, the startup probe; then the readiness probe. An agent cannot restart the service,
so that a startup that takes too long is told and goes on.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic

import structlog

from interceptor.config.membership import Probe
from interceptor.workload import outcome
from interceptor.workload.outcome import Outcome, State, Verdict

log = structlog.get_logger(__name__)


RESULTS = ("success", "failure")
TURNS = (State.HEALTHY.value, State.UNHEALTHY.value)


def _word(found: Outcome) -> str:
    return "success" if found.is_success else "failure"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is probed. Both None: nothing is, and the service is never called unfit."""

    readiness: Probe | None = None
    startup: Probe | None = None

    def __bool__(self) -> bool:
        return self.readiness is not None or self.startup is not None


@dataclass(frozen=True, slots=True)
class Rim:
    """What a Health does to the world, so that tests have their own.

    ``sidecar`` gives why the sidecar takes no calls, empty where it does;
    ``sleep`` and ``now_s`` are the clock.
    """

    observe: Callable[[Probe], Awaitable[Outcome]]
    sidecar: Callable[[], Awaitable[str]]
    tell: Callable[[bool, str], Awaitable[None]]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    now_s: Callable[[], float] = monotonic


class Health:
    """One service's health. `run` never ends; `verdict` is how it stands."""

    def __init__(self, rim: Rim, wanted: Wanted) -> None:
        self.wanted = wanted
        self.verdict = Verdict()
        self.has_started = False
        self.counts: Counter[str] = Counter()
        """Probes by success and failure, and turns by what they turned to."""
        self.took_s = 0.0
        self.why = ""  # of the last turn to unhealthy
        self._rim = rim

    async def run(self) -> None:
        """Probe until cancelled. A verdict that stands is kept when this is begun anew."""
        startup, readiness = self.wanted.startup, self.wanted.readiness
        if startup is not None and not self.has_started:
            await self._follow(startup, is_startup=True)
        self.has_started = True
        if readiness is not None:
            await self._follow(readiness, is_startup=False)

    async def _follow(self, probe: Probe, *, is_startup: bool) -> None:
        """The startup probe until it has succeeded; the readiness probe for ever."""
        rim = self._rim
        await rim.sleep(probe.initial_delay_s)
        while True:
            began_s = rim.now_s()
            found = await self._look(probe)
            self.took_s = rim.now_s() - began_s
            if is_startup and found.is_success:
                log.info("the service has started", why=found.told())
                self._count(found)
                if self.wanted.readiness is None:
                    await self._take(found, probe, "")
                return
            await self._take(found, probe, "it has not started: " if is_startup else "")
            await rim.sleep(max(0.0, probe.period_s - self.took_s))

    async def _look(self, probe: Probe) -> Outcome:
        if why := await self._rim.sidecar():
            return Outcome(False, why)
        return await self._rim.observe(probe)

    def _count(self, found: Outcome) -> None:
        self.counts[_word(found)] += 1

    async def _take(self, found: Outcome, probe: Probe, prefix: str) -> None:
        self._count(found)
        before = self.verdict
        self.verdict = outcome.decide(before, found, probe)
        if self.verdict.state is before.state:
            return
        is_healthy = self.verdict.state is State.HEALTHY
        self.counts[self.verdict.state.value] += 1
        self.why = why = prefix + found.told()
        tell = log.info if is_healthy else log.warning
        tell("the service's health", state=self.verdict.state.value, why=why)
        await self._rim.tell(is_healthy, "" if is_healthy else why)

    def status(self) -> dict[str, object]:
        """For `status`: how it stands, and what the last probe said."""
        last = self.verdict.last
        return {
            "state": self.verdict.state.value,
            "probed": bool(self.wanted),
            "started": self.has_started,
            "last": None if last is None else _word(last),
            "why": "" if last is None else last.told(),
            "in_a_row": self.verdict.run,
            "took_s": round(self.took_s, 4),
        }
