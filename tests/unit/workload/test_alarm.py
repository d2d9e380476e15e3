"""Alarms in time, and none before."""

from __future__ import annotations

from dataclasses import replace

import pytest

from interceptor.workload import alarm
from interceptor.workload.alarm import Outlook
from tests.unit.workload.made import DAY_S, Authority

NOW = 1_800_000_000.0
HOUR_S = 3600.0
CURRENT = Authority(NOW).credential()
GOOD = Outlook(CURRENT, NOW + DAY_S / 2, "")
FAILED = replace(GOOD, why="nobody listens")


@pytest.mark.parametrize("after_s", [0, DAY_S / 2, DAY_S - 60])
def test_nothing_is_said_where_all_is_well(after_s: float) -> None:
    assert alarm.decide(GOOD, 6 * HOUR_S, NOW + after_s) == ()


def test_an_attempt_in_vain_is_no_alarm_as_long_as_there_is_time() -> None:
    assert alarm.decide(FAILED, 6 * HOUR_S, NOW + 17 * HOUR_S) == ()
    (said,) = alarm.decide(FAILED, 6 * HOUR_S, NOW + 19 * HOUR_S)
    assert said == (
        "the certificate ends at 2027-01-16 08:00:00 UTC and has not been replaced: nobody listens"
    )


def test_a_short_life_is_no_alarm_before_its_renewal_is_due() -> None:
    short = Outlook(Authority(NOW).credential(ends_s=HOUR_S), NOW + 1800, "away")
    assert alarm.decide(short, 6 * HOUR_S, NOW + 60) == ()
    assert alarm.decide(short, 6 * HOUR_S, NOW + 1900) != ()


def test_an_end_is_told_with_its_reason() -> None:
    (said,) = alarm.decide(FAILED, 0, NOW + DAY_S)
    assert said == "the certificate ended at 2027-01-16 08:00:00 UTC: nobody listens"


def test_no_certificate_at_all() -> None:
    assert alarm.decide(Outlook(None, 0, ""), 0, NOW) == (), "nobody has been asked yet"
    (said,) = alarm.decide(Outlook(None, 0, "refused"), 0, NOW)
    assert said == "this VM has no certificate: refused"


def test_a_token_matters_where_no_certificate_stands_in_for_it() -> None:
    alone = Outlook(None, 0, "", NOW, NOW + HOUR_S, True)
    held = replace(alone, current=CURRENT, renewal_s=GOOD.renewal_s)
    assert alarm.decide(alone, 6 * HOUR_S, NOW + 0.7 * HOUR_S) == ()
    (said,) = alarm.decide(alone, 6 * HOUR_S, NOW + 0.9 * HOUR_S)
    assert said.startswith("the token ends at 2027-01-15 09:00:00 UTC")
    (said,) = alarm.decide(alone, 6 * HOUR_S, NOW + HOUR_S)
    assert said.startswith("the token ended at")
    assert alarm.decide(held, 6 * HOUR_S, NOW + HOUR_S) == ()
    endless = Outlook(None, 0, "", has_token=True)
    assert alarm.decide(endless, 6 * HOUR_S, NOW) == ()
