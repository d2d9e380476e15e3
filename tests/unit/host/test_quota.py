"""How often somebody may ask."""

from __future__ import annotations

from interceptor.host import quota
from interceptor.host.quota import Quota


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_burst_is_granted_and_then_as_much_as_time_allows() -> None:
    clock = Clock()
    limit = Quota(3, 0.5, clock)
    assert [limit.take("a") for _ in range(5)] == [True, True, True, False, False]
    clock.now_s = 2.0
    assert [limit.take("a") for _ in range(2)] == [True, False]
    assert limit.refused == 3


def test_one_name_takes_nothing_from_another() -> None:
    limit = Quota(1, 0.0, Clock())
    assert limit.take("a")
    assert not limit.take("a")
    assert limit.take("b")


def test_a_long_rest_fills_the_bucket_and_no_more() -> None:
    clock = Clock()
    limit = Quota(2, 1.0, clock)
    limit.take("a")
    clock.now_s = 1e6
    assert [limit.take("a") for _ in range(3)] == [True, True, False]


def test_names_are_forgotten_before_they_fill_the_memory() -> None:
    limit = Quota(1, 0.0, Clock())
    for number in range(quota.MOST + 10):
        limit.take(str(number))
    assert len(limit._buckets) == quota.MOST
