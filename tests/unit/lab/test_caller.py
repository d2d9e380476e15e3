from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from interceptor.lab import caller
from interceptor.lab.caller import Call

TIMES = st.integers(0, 10**12).map(lambda us: us / 1e6)
ANSWERS = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)


@given(st.lists(st.builds(Call, TIMES, st.integers(0, 599), ANSWERS)))
def test_calls_survive_being_printed(calls: list[Call]) -> None:
    text = "".join(caller.encode(call) + "\n" for call in calls)
    assert caller.decode(text) == tuple(calls)


def test_a_line_that_is_still_being_written_is_left_out() -> None:
    assert caller.decode("1.000000 200 a\n2.000000 20") == (Call(1.0, 200, "a"),)


def test_whatever_is_not_200_is_a_failure() -> None:
    calls = [Call(1, 200, "a"), Call(2, 503, "b"), Call(3, 0, "ConnectionResetError")]
    assert caller.failures(calls) == tuple(calls[1:])


def test_a_refused_connection_is_a_call_without_a_status() -> None:
    made = list(caller.run("http://127.0.0.1:1/", 0.01))
    assert made
    assert {call.status for call in made} == {0}
    assert made[0].answer.startswith("ConnectionRefusedError")
