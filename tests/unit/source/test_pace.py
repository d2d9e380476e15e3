from __future__ import annotations

from interceptor.source import pace
from interceptor.source.pace import Pace


class Clock:
    s = 100.0

    def __call__(self) -> float:
        return self.s


def test_the_first_write_may_begin_at_once_and_the_next_after_a_pause() -> None:
    clock = Clock()
    one = Pace(clock)
    assert one.is_due
    one.begin()
    one.end(is_done=True)
    assert not one.is_due
    clock.s += pace.PAUSE_S
    assert one.is_due
    assert one.quiet_s == pace.PAUSE_S


def test_a_slow_disk_is_written_to_seldom() -> None:
    clock = Clock()
    one = Pace(clock)
    one.begin()
    clock.s += 2.0
    one.end(is_done=True)
    clock.s += 2.0 * pace.SHARE - 2.1
    assert not one.is_due
    clock.s += 0.2
    assert one.is_due


def test_a_write_that_failed_is_tried_again_later_and_counts_as_none() -> None:
    clock = Clock()
    one = Pace(clock)
    one.begin()
    one.end(is_done=False)
    clock.s += pace.RETRY_S - 1
    assert not one.is_due
    clock.s += 1
    assert one.is_due
    assert one.quiet_s == pace.RETRY_S
