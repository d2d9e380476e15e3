"""The words of an answer."""

from __future__ import annotations

import pytest

from interceptor.mesh import outcome
from interceptor.mesh.outcome import Outcome, Verdict


@pytest.mark.parametrize("number", [1, 28, 33, 65, 99, 65535])
def test_type_names_and_numbers_are_each_others_inverse(number: int) -> None:
    assert outcome.parse_type(outcome.type_name(number)) == number


def test_types_may_be_written_in_any_case() -> None:
    assert outcome.parse_type("aaaa") == outcome.AAAA


@pytest.mark.parametrize("text", ["", "TYPE", "TYPE0", "TYPE65536", "SPOON", "1"])
def test_an_unknown_type_says_what_is_legal(text: str) -> None:
    with pytest.raises(ValueError, match="legal: A, "):
        outcome.parse_type(text)


def test_only_records_count_as_data() -> None:
    assert not Outcome(Verdict.ANSWER, "a", (("a", "b"),)).has_data
    assert Outcome(Verdict.ANSWER, "a", ptr=("b",)).has_data
