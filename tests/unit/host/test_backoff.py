from __future__ import annotations

from interceptor.host.backoff import Backoff


def test_waits_grow_to_a_limit_and_begin_anew() -> None:
    backoff = Backoff(1.0, 3.0, lambda: 1.0)
    assert [round(backoff.next_s(), 2) for _ in range(4)] == [1.0, 1.6, 2.56, 3.0]
    backoff.reset()
    assert backoff.next_s() == 1.0


def test_at_least_half_of_a_wait_is_waited() -> None:
    assert Backoff(1.0, 3.0, lambda: 0.0).next_s() == 0.5
