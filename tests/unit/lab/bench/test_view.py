from __future__ import annotations

import io

from rich.console import Console

from interceptor.lab.bench import view
from interceptor.lab.bench.meter import Row, at_least
from interceptor.lab.bench.part import Part

ROUNDS = {"ours": [{"rate": 10.0}, {"rate": 30.0}], "theirs": [{"rate": 5.0}, {"rate": 5.0}]}
ROWS = (Row("answers", "rate", "ours", "theirs", at_least(5)),)
PART = Part("p", "A part", "", lambda session: ROUNDS, ROWS, {"rate": "answers a second"})


def shown(table: object) -> str:
    out = io.StringIO()
    Console(file=out, width=200).print(table)
    return out.getvalue()


def test_figures_are_medians_with_their_range() -> None:
    assert "20 [10..30]" in shown(view.render_figures(PART, ROUNDS))


def test_a_row_shows_ratio_target_and_verdict() -> None:
    text = shown(view.render_rows(PART, ROUNDS))
    for piece in ("4 [2..6]", "[least..most]", "≥ 5", "missed"):
        assert piece in text
