"""So much a second, and what goes beyond is counted."""

from __future__ import annotations

from interceptor.debug.allowance import Allowance


def test_what_goes_beyond_is_refused_and_counted_until_time_has_passed() -> None:
    now_s = [0.0]
    allowance = Allowance(2, lambda: now_s[0])
    assert [allowance.take() for _ in range(4)] == [True, True, False, False]
    now_s[0] = 0.5
    assert [allowance.take() for _ in range(2)] == [True, False]
    now_s[0] = 100.0
    assert [allowance.take() for _ in range(3)] == [True, True, False]
    assert allowance.refused == 4
