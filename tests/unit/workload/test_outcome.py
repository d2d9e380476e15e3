"""Thresholds, as kubelet counts them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.config.membership import Probe, TcpSocket
from interceptor.workload import outcome
from interceptor.workload.outcome import Outcome, State, Verdict


def probe(success: int = 1, failure: int = 3) -> Probe:
    tcp = TcpSocket(port=1)
    return Probe(tcp=tcp, success_threshold=success, failure_threshold=failure)


def states(said: str, wanted: Probe) -> str:
    """One letter a probe: ``+`` for a success; one letter a state: u(nknown), h, U(nhealthy)."""
    verdict, found = Verdict(), ""
    letters = {State.UNKNOWN: "u", State.HEALTHY: "h", State.UNHEALTHY: "U"}
    for letter in said:
        verdict = outcome.decide(verdict, Outcome(letter == "+"), wanted)
        found += letters[verdict.state]
    return found


@pytest.mark.parametrize(
    ("said", "success", "failure", "expected"),
    [
        ("+", 1, 3, "h"),
        ("---", 1, 3, "uuU"),
        ("+--+---", 1, 3, "hhhhhhU"),  # a success in between begins the count anew
        ("---++", 2, 3, "uuUUh"),
        ("---+-++", 2, 3, "uuUUUUh"),
        ("-", 1, 1, "U"),
        ("+-+-", 1, 1, "hUhU"),
    ],
)
def test_it_turns_when_as_many_in_a_row_say_so(
    said: str, success: int, failure: int, expected: str
) -> None:
    assert states(said, probe(success, failure)) == expected


@given(st.text("+-", max_size=30), st.integers(1, 4), st.integers(1, 4))
def test_a_state_is_always_the_last_that_its_threshold_was_reached_for(
    said: str, success: int, failure: int
) -> None:
    """Worked out the other way round: by looking back over everything that was said."""
    expected = "u"
    for end in range(1, len(said) + 1):
        past = said[:end]
        if past.endswith("+" * success):
            expected = "h"
        elif past.endswith("-" * failure):
            expected = "U"
    assert (states(said, probe(success, failure)) or "u")[-1] == expected


def test_a_reason_is_one_line_of_bounded_length() -> None:
    told = Outcome(False, "a\nb\t" + "c" * 1000).told()
    assert told.startswith("a b ccc")
    assert len(told) == outcome.TOLD
