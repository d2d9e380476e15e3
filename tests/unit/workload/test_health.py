"""Health in time: a clock of the test's, and a service that answers as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from interceptor.config.membership import Probe, TcpSocket
from interceptor.workload.health import Health, Rim, Wanted
from interceptor.workload.outcome import Outcome, State

END = 1000.0


class Over(Exception):
    """The clock has come to its end."""


@dataclass
class World:
    """``says`` gives what a probe of a port says at a time; each takes ``takes_s``."""

    says: Callable[[int, float], bool]
    sidecar: Callable[[float], str] = lambda _: ""
    takes_s: float = 0.0
    now_s: float = 0.0
    end_s: float = END
    asked: list[tuple[float, int]] = field(default_factory=list)
    told: list[tuple[float, bool, str]] = field(default_factory=list)

    def rim(self) -> Rim:
        return Rim(self._observe, self._sidecar, self._tell, self._sleep, lambda: self.now_s)

    async def _observe(self, wanted: Probe) -> Outcome:
        assert wanted.tcp is not None
        self.asked.append((self.now_s, wanted.tcp.port))
        self.now_s += self.takes_s
        return Outcome(self.says(wanted.tcp.port, self.now_s), f"port {wanted.tcp.port}")

    async def _sidecar(self) -> str:
        return self.sidecar(self.now_s)

    async def _tell(self, is_healthy: bool, why: str) -> None:
        self.told.append((self.now_s, is_healthy, why))

    async def _sleep(self, wait_s: float) -> None:
        self.now_s += wait_s
        if self.now_s >= self.end_s:
            raise Over


def live(world: World, wanted: Wanted) -> Health:
    health = Health(world.rim(), wanted)
    try:
        asyncio.run(health.run())
    except Over:
        pass
    return health


def probe(port: int, **keys: float) -> Probe:
    return Probe.model_validate({"tcp": TcpSocket(port=port), **keys})


def times(asked: Iterable[tuple[float, int]]) -> list[float]:
    return [at_s for at_s, _ in asked]


def test_a_probe_begins_after_its_delay_and_comes_again_each_period() -> None:
    world = World(lambda *_: True, end_s=40)
    live(world, Wanted(probe(80, initial_delay_s=5, period_s=10)))
    assert times(world.asked) == [5, 15, 25, 35]


def test_a_slow_probe_does_not_make_the_period_longer() -> None:
    world = World(lambda *_: True, takes_s=3, end_s=35)
    health = live(world, Wanted(probe(80, period_s=10)))
    assert times(world.asked) == [0, 10, 20, 30]
    assert health.took_s == 3


def test_a_turn_is_told_once_with_its_reason() -> None:
    world = World(lambda _, now_s: not 20 <= now_s < 60, end_s=100)
    health = live(world, Wanted(probe(80, period_s=10, failure_threshold=2)))
    assert world.told == [(0, True, ""), (30, False, "port 80"), (60, True, "")]
    assert health.verdict.state is State.HEALTHY
    assert (health.counts["healthy"], health.counts["unhealthy"]) == (2, 1)


def test_a_failure_that_does_not_reach_the_threshold_is_told_to_nobody() -> None:
    world = World(lambda _, now_s: now_s != 20, end_s=100)
    live(world, Wanted(probe(80, period_s=10, failure_threshold=2)))
    assert world.told == [(0, True, "")]


def test_readiness_waits_until_startup_has_succeeded_once() -> None:
    world = World(lambda port, now_s: port == 80 or now_s >= 20, end_s=50)
    wanted = Wanted(probe(80, period_s=10), probe(81, period_s=5, failure_threshold=100))
    health = live(world, wanted)
    assert [port for _, port in world.asked] == [81, 81, 81, 81, 81, 80, 80, 80]
    assert world.told == [(20, True, "")]
    assert health.has_started


def test_a_startup_that_takes_too_long_is_told_and_goes_on() -> None:
    world = World(lambda _, now_s: now_s >= 40, end_s=60)
    wanted = Wanted(probe(80, period_s=10), probe(81, period_s=10, failure_threshold=3))
    live(world, wanted)
    assert world.told == [(20, False, "it has not started: port 81"), (40, True, "")]


def test_with_a_startup_probe_alone_its_success_is_health() -> None:
    world = World(lambda _, now_s: now_s >= 10, end_s=100)
    health = live(world, Wanted(None, probe(81, period_s=10)))
    assert world.told == [(10, True, "")]
    assert health.verdict.state is State.HEALTHY


def test_without_a_sidecar_the_service_is_not_even_asked() -> None:
    world = World(
        lambda *_: True, sidecar=lambda now_s: "the sidecar is down" if now_s < 30 else "", end_s=50
    )
    live(world, Wanted(probe(80, period_s=10)))
    assert times(world.asked) == [30, 40]
    assert world.told == [(20, False, "the sidecar is down"), (30, True, "")]


def test_status_says_how_it_stands_and_what_was_said_last() -> None:
    world = World(lambda *_: False, end_s=25)
    status = live(world, Wanted(probe(80, period_s=10))).status()
    assert status == {
        "state": "unhealthy",
        "probed": True,
        "started": True,
        "last": "failure",
        "why": "port 80",
        "in_a_row": 3,
        "took_s": 0.0,
    }
