from __future__ import annotations

import time

from interceptor.source import moment
from interceptor.source.moment import Moment, age_s


def test_within_one_boot_the_wall_clock_may_jump() -> None:
    then = Moment(1_000_000.0, "a", 50.0)
    for wall_s in (0.0, 1_000_010.0, 9e9):
        assert age_s(then, Moment(wall_s, "a", 60.0)) == 10.0


def test_after_another_boot_the_date_is_all_there_is() -> None:
    then = Moment(1_000_000.0, "a", 5000.0)
    assert age_s(then, Moment(1_000_100.0, "b", 1.0)) == 100.0
    assert age_s(then, Moment(0.0, "b", 1.0)) == 0.0, "a machine without a battery"
    assert age_s(Moment(10.0, "", 1.0), Moment(30.0, "", 900.0)) == 20.0


def test_now_is_now() -> None:
    one, other = moment.now(), moment.now()
    assert one.boot == other.boot != ""
    assert 0 <= age_s(one, other) < 5
    assert abs(one.wall_s - time.time()) < 5
