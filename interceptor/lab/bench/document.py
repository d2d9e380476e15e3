"""The figures as a page of Markdown. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from interceptor.lab.bench import meter
from interceptor.lab.bench.part import Part
from interceptor.lab.bench.record import Outcome

HEAD = """\
# Benchmarks

`scripts/bench` measured all of this and wrote this page, `bench.svg` and `bench.json`; run it
again for your own machine, parts of it by name ({parts}).

Variants take turns in each round, and each round begins with another one. A cell is the median
of the rounds, with the least and the greatest in brackets. Ratios are taken within a round,
so that what slows the machine for a while slows both sides. CPU time is the firmest figure; the
latencies of servers in user space have two modes on virtual machines, with and without the wake-up
of an idle processor.

![the figures as bars](bench.svg)
"""


def render(parts: Sequence[Part], outcomes: Sequence[Outcome]) -> str:
    """The page: targets first, then each part with everything it measured."""
    known = {part.name: part for part in parts}
    pieces = [HEAD.format(parts=", ".join(f"`{part.name}`" for part in parts))]
    there = [(known[outcome.part], outcome) for outcome in outcomes if outcome.part in known]
    pieces.append("## Targets\n\n" + render_targets(there))
    pieces += [render_part(part, outcome) for part, outcome in there]
    return "\n".join(pieces)


def render_targets(there: Iterable[tuple[Part, Outcome]]) -> str:
    """One table of all rows with a target, met or missed."""
    lines = [
        (part.name, *_cells(verdict))
        for part, outcome in there
        for verdict in meter.judge(outcome.rounds, part.rows)
        if verdict.row.limit is not None
    ]
    return _table(("part", *ROW), lines)


ROW = ("what", "ours", "against", "median [least..most]", "target", "")


def _cells(verdict: meter.Verdict) -> tuple[str, ...]:
    row = verdict.row
    limit = "" if row.limit is None else str(row.limit)
    word = {"met": "met", "missed": "**missed**"}.get(verdict.word, "")
    return row.what, row.ours, row.theirs or "—", verdict.text, limit, word


def render_part(part: Part, outcome: Outcome) -> str:
    """Everything that one part measured."""
    figures = meter.figures(outcome.rounds)
    variants = [
        (variant, *(_figure(outcome, variant, figure) for figure in figures))
        for variant in outcome.rounds
    ]
    rest = [
        _cells(verdict)
        for verdict in meter.judge(outcome.rounds, part.rows)
        if verdict.row.limit is None
    ]
    amounts = ", ".join(f"{what} {count:,}" for what, count in outcome.amounts.items())
    pieces = [f"## {part.title}\n", f"{outcome.when}, {outcome.machine}. Amounts: {amounts}.\n"]
    pieces.append(part.about)
    pieces += [f"- {note}\n" for note in outcome.notes]
    pieces.append(_table(("variant", *figures), variants))
    if part.figures:
        pieces.append(_legend(part.figures))
    if rest:
        pieces.append("Without a target of their own:\n\n" + _table(ROW, rest))
    return "\n".join(pieces)


def _figure(outcome: Outcome, variant: str, figure: str) -> str:
    found = meter.summarise(outcome.rounds, variant, figure)
    return "" if found is None else str(found)


def _legend(figures: Mapping[str, str]) -> str:
    return "\n".join(f"- `{figure}`: {what}" for figure, what in figures.items()) + "\n"


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"
