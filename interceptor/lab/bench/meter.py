"""Measuring: alternating rounds of variants, ratios within a round, spread, and targets. Pure
but for what the variants do."""

from __future__ import annotations

import enum
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Figures = Mapping[str, float]
"""What one round of one variant measured, by the figure's name."""

Rounds = Mapping[str, Sequence[Figures]]
"""For each variant the figures of its rounds, in order."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to do the job. ``measure`` runs one round of it."""

    name: str
    measure: Callable[[], Figures]


class Sense(enum.Enum):
    """On which side of its limit a figure should be."""

    AT_MOST = "≤"
    AT_LEAST = "≥"


@dataclass(frozen=True, slots=True)
class Limit:
    """A target, as design §12 has it."""

    sense: Sense
    value: float

    def __str__(self) -> str:
        return f"{self.sense.value} {self.value:g}"

    def is_met(self, value: float) -> bool:
        if self.sense is Sense.AT_MOST:
            return value <= self.value
        return value >= self.value


def at_most(value: float) -> Limit:
    """No more than that is the target."""
    return Limit(Sense.AT_MOST, value)


def at_least(value: float) -> Limit:
    """No less than that is the target."""
    return Limit(Sense.AT_LEAST, value)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the comparison: ``figure`` of ``ours``, as a ratio to that of ``theirs``
    where that is not empty. Without a limit it is there to be seen."""

    what: str
    figure: str
    ours: str
    theirs: str = ""
    limit: Limit | None = None


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with the least and the greatest."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        if self.least == self.most:
            return _short(self.median)
        return f"{_short(self.median)} [{_short(self.least)}..{_short(self.most)}]"


def _short(value: float) -> str:
    """Three digits that count, and no power of ten."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found for a row. ``is_met`` is None where there is no target."""

    row: Row
    spread: Spread
    is_met: bool | None

    @property
    def text(self) -> str:
        """The spread, its median exact enough to be held against a limit of three digits."""
        one = self.spread
        range_ = f" [{_short(one.least)}..{_short(one.most)}]" if one.least != one.most else ""
        return f"{one.median:.4g}{range_}"

    @property
    def word(self) -> str:
        return {None: "", True: "met", False: "missed"}[self.is_met]


def alternate(
    variants: Sequence[Variant], rounds: int, say: Callable[[str], None], *, warm: bool = True
) -> Rounds:
    """Every variant once a round, each round beginning with another; where ``warm``, after one
    round unmeasured. What drifts on the machine then hits all variants alike."""
    results: dict[str, list[Figures]] = {variant.name: [] for variant in variants}
    for number in range(0 if warm else 1, rounds + 1):
        shift = number % len(variants)
        for variant in (*variants[shift:], *variants[:shift]):
            say(f"round {number} of {rounds}: {variant.name}")
            figures = variant.measure()
            if number:
                results[variant.name].append(figures)
    return results


def spread(values: Sequence[float]) -> Spread:
    """Median, least and greatest of at least one value."""
    return Spread(statistics.median(values), min(values), max(values))


def figures(rounds: Rounds) -> tuple[str, ...]:
    """Every figure that some variant has, in the order of their first appearance."""
    return tuple(dict.fromkeys(key for rows in rounds.values() for row in rows for key in row))


def summarise(rounds: Rounds, variant: str, figure: str) -> Spread | None:
    """One figure of one variant over its rounds; None where it has no such figure."""
    values = [row[figure] for row in rounds.get(variant, ()) if figure in row]
    return spread(values) if values else None


def compare(rounds: Rounds, row: Row) -> Spread | None:
    """The ratio within each round, over the rounds; the figure itself where there is nothing to
    compare it with. None where one of the two was not measured."""
    if not row.theirs:
        return summarise(rounds, row.ours, row.figure)
    pairs = zip(rounds.get(row.ours, ()), rounds.get(row.theirs, ()), strict=False)
    values = [
        a[row.figure] / b[row.figure]
        for a, b in pairs
        if row.figure in a and b.get(row.figure, 0) > 0
    ]
    return spread(values) if values else None


def judge(rounds: Rounds, rows: Sequence[Row]) -> tuple[Verdict, ...]:
    """The rows that could be compared, each with its spread, judged by the median."""
    found = []
    for row in rows:
        ratio = compare(rounds, row)
        if ratio is not None:
            is_met = None if row.limit is None else row.limit.is_met(ratio.median)
            found.append(Verdict(row, ratio, is_met))
    return tuple(found)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` (0 to 1) of at least one are not above."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]
