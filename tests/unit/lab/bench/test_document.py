from __future__ import annotations

from interceptor.lab.bench import document
from interceptor.lab.bench.meter import Row, at_most
from interceptor.lab.bench.part import Part
from interceptor.lab.bench.record import Outcome

ROUNDS = {"ours": [{"t": 1.0}, {"t": 2.0}, {"t": 3.0}], "theirs": [{"t": 2.0}] * 3}
ROWS = (
    Row("time", "t", "ours", "theirs", at_most(0.5)),
    Row("time itself", "t", "ours", "", at_most(5)),
    Row("the other way", "t", "theirs", "ours"),
    Row("not measured", "t", "absent", "theirs", at_most(1)),
)
PART = Part("p", "A part", "About it.\n", lambda session: ROUNDS, ROWS, {"t": "seconds"})
OUTCOME = Outcome("p", "2 × CPU", "2026-01-02", {"rounds": 3}, ROUNDS, ("ebpf: not here",))
PAGE = document.render([PART], [OUTCOME])


def test_targets_are_met_or_missed_by_the_median() -> None:
    assert "| p | time | ours | theirs | 1 [0.5..1.5] | ≤ 0.5 | **missed** |\n" in PAGE
    assert "| p | time itself | ours | — | 2 [1..3] | ≤ 5 | met |\n" in PAGE


def test_rows_without_a_target_stand_with_their_part() -> None:
    targets, _, part = PAGE.partition("## A part")
    assert "the other way" not in targets
    assert "| the other way | theirs | ours | 1 [0.667..2] |  |  |\n" in part


def test_what_was_not_measured_is_not_in_any_table() -> None:
    assert "not measured" not in PAGE


def test_a_part_says_where_and_when_and_what_was_missing() -> None:
    for text in (
        "2026-01-02, 2 × CPU. Amounts: rounds 3.",
        "About it.",
        "- ebpf: not here\n",
        "- `t`: seconds\n",
    ):
        assert text in PAGE


def test_parts_that_were_not_run_leave_no_trace() -> None:
    assert "## A part" not in document.render([PART], [])
