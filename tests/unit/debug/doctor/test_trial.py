"""What outcomes of self-tests mean."""

from __future__ import annotations

import pytest

from interceptor.debug.doctor import trial
from interceptor.debug.doctor.check import Group, State
from interceptor.lab.selftest import session
from interceptor.lab.selftest.client import ON_FAR, ON_VM

NAMES = {*ON_VM, *ON_FAR, session.START, session.CLEAN}


def test_every_name_that_is_judged_apart_is_a_test_s() -> None:
    assert set(trial.VITAL) <= NAMES
    assert {name for name, _ in trial.LIMITS} <= NAMES
    assert set(trial.WHYS) <= NAMES


@pytest.mark.parametrize(
    ("name", "result", "backend", "state"),
    [
        ("steering", "passed", "ebpf", State.OK),
        ("steering", "failed", "ebpf", State.FAULT),
        ("MPTCP", "failed", "ebpf", State.WARNING),
        ("MPTCP", "absent", "ebpf", State.NOTE),
        ("bound device", "failed", "nftables", State.NOTE),
        ("bound device", "failed", "ebpf", State.WARNING),
        ("bound device", "passed", "nftables", State.OK),
    ],
)
def test_an_outcome_is_as_bad_as_what_it_breaks(
    name: str, result: str, backend: str, state: State
) -> None:
    check = trial.decide(name, result, "seen", 0.1, backend)
    assert (check.group, check.state, check.took_s) == (Group.SELF_TEST, state, 0.1)
    assert state is State.OK or check.why


def test_what_was_not_tried_is_a_note_what_fell_a_warning() -> None:
    assert trial.refuse("no root").state is State.NOTE
    assert trial.fail("no namespace").state is State.WARNING
