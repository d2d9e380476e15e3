"""What is said of one thing, and the exit code of the whole."""

from __future__ import annotations

import pytest

from interceptor.debug.doctor import check
from interceptor.debug.doctor.check import Check, Group, State


def one(state: State) -> Check:
    return Check(Group.KERNEL, "thing", state, "seen")


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ((), 0),
        ((State.OK, State.NOTE, State.WARNING), 0),
        ((State.OK, State.FAULT, State.NOTE), 1),
    ],
)
def test_only_a_fault_fails(states: tuple[State, ...], code: int) -> None:
    assert check.exit_code(map(one, states), can_run=True) == code


def test_a_host_that_can_run_no_back_end_is_told_apart_from_a_fault() -> None:
    assert check.exit_code([one(State.FAULT)], can_run=False) == 3


def test_json_has_the_time_of_tests_only() -> None:
    assert "took_s" not in check.encode(one(State.OK))
    test = Check(Group.SELF_TEST, "steering", State.OK, "10.0.0.1", took_s=0.00149)
    assert check.encode(test) == {
        "group": "self-test",
        "name": "steering",
        "state": "ok",
        "seen": "10.0.0.1",
        "why": "",
        "cure": "",
        "took_s": 0.001,
    }


def test_every_state_is_counted() -> None:
    found = check.count([one(State.NOTE), one(State.NOTE), one(State.FAULT)])
    assert found == {State.OK: 0, State.NOTE: 2, State.WARNING: 0, State.FAULT: 1}
