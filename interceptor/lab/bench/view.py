"""The figures on a terminal."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from interceptor.lab.bench import meter
from interceptor.lab.bench.meter import Rounds
from interceptor.lab.bench.part import Part

STYLES = {"met": "green", "missed": "bold red"}


def render_figures(part: Part, rounds: Rounds) -> Table:
    """What every variant measured: medians, with least and greatest."""
    figures = meter.figures(rounds)
    table = Table("variant", *figures, title=part.title)
    for variant in rounds:
        found = (meter.summarise(rounds, variant, figure) for figure in figures)
        table.add_row(variant, *("" if one is None else escape(str(one)) for one in found))
    return table


def render_rows(part: Part, rounds: Rounds) -> Table:
    """Ratios within a round, and figures that have a target of their own."""
    table = Table(
        "what", "ours", "against", escape("median [least..most]"), "target", "", title=part.title
    )
    for verdict in meter.judge(rounds, part.rows):
        row = verdict.row
        limit = "" if row.limit is None else str(row.limit)
        style = STYLES.get(verdict.word)
        table.add_row(
            row.what,
            row.ours,
            row.theirs,
            escape(verdict.text),
            limit,
            verdict.word,
            style=style,
        )
    return table
