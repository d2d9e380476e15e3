"""When things are put back, by a clock of our own."""

from __future__ import annotations

from interceptor.capture.drift import Cause
from interceptor.capture.patience import BACK_OFF_S, CALM_S, SOON_S, Patience


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def fight(patience: Patience, clock: Clock, rounds: int, cause: Cause = Cause.RULES) -> list[float]:
    """The pause before each repair of somebody who removes at once whatever is put back."""
    pauses = []
    for _ in range(rounds):
        clock.now_s += 0.1
        patience.see([cause])
        pauses.append(round(patience.wait_s(cause), 6))
        clock.now_s += patience.wait_s(cause)
        patience.repaired([cause])
    return pauses


def test_a_fight_is_fought_ever_more_slowly_and_without_end() -> None:
    clock = Clock()
    assert fight(Patience(clock), clock, 7) == [*BACK_OFF_S, 30.0, 30.0]


def test_a_firewall_that_reloads_now_and_then_is_no_fight() -> None:
    clock = Clock()
    patience = Patience(clock)
    for _ in range(20):
        clock.now_s += SOON_S + 1
        assert patience.see([Cause.RULES]) == {}
        assert patience.wait_s(Cause.RULES) == 0
        patience.repaired([Cause.RULES])


def test_whoever_gives_up_for_a_minute_is_forgiven() -> None:
    clock = Clock()
    patience = Patience(clock)
    fight(patience, clock, 5)
    patience.see([])
    clock.now_s += CALM_S + 1
    assert fight(patience, clock, 2) == [0.0, 0.0]


def test_a_pause_in_a_fight_does_not_end_it() -> None:
    clock = Clock()
    patience = Patience(clock)
    fight(patience, clock, 5)
    clock.now_s += SOON_S + 5
    patience.see([Cause.RULES])
    assert patience.wait_s(Cause.RULES) == BACK_OFF_S[-1]


def test_each_cause_has_a_fight_of_its_own() -> None:
    clock = Clock()
    patience = Patience(clock)
    fight(patience, clock, 5)
    clock.now_s += 0.1
    assert patience.see([Cause.RULES, Cause.ROUTES]) == {Cause.RULES: 30.0}
    assert patience.wait_s(Cause.ROUTES) == 0
    patience.repaired([Cause.ROUTES])
    assert set(patience.waiting()) == {Cause.RULES}


def test_the_beginning_of_a_wait_is_told_once() -> None:
    clock = Clock()
    patience = Patience(clock)
    fight(patience, clock, 3)
    clock.now_s += 0.1
    assert patience.see([Cause.RULES]) == {Cause.RULES: 5.0}
    clock.now_s += 1
    assert patience.see([Cause.RULES]) == {}
    assert patience.waiting() == {Cause.RULES: 4.0}


def test_what_comes_back_by_itself_waits_for_nothing() -> None:
    clock = Clock()
    patience = Patience(clock)
    fight(patience, clock, 3)
    patience.see([Cause.RULES])
    patience.see([])
    assert patience.waiting() == {}
