"""Outcomes between processes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.lab.selftest.outcome import Outcome, decode, encode


@given(
    st.builds(
        Outcome,
        st.text(),
        st.sampled_from(["passed", "failed", "absent"]),
        st.text(),
        st.floats(min_value=0, max_value=1e6),
    )
)
def test_an_outcome_survives_the_way(outcome: Outcome) -> None:
    line = encode(outcome)
    assert "\n" not in line
    assert decode(line) == outcome


@pytest.mark.parametrize("line", ["", "[]", "{}", '{"result": "maybe"}', "Traceback"])
def test_anything_else_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="."):
        decode(line)
