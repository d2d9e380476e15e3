"""One look at a running daemon: its status, its figures, its sidecar's clusters. Pure.

Figures are read off the metrics page, so that what `top` shows is what a scrape stores.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import inf

from prometheus_client.parser import text_string_to_metric_families

Labels = tuple[tuple[str, str], ...]
"""Sorted (label, value)."""
Figures = Mapping[str, Mapping[Labels, float]]
"""Sample's name → labels → value."""


@dataclass(frozen=True, slots=True)
class Reading:
    """``at_s`` by `monotonic`. ``clusters`` are the sidecar's, a mapping each by the fields of
    `sidecar.usage.Usage`. ``problem`` says why there is nothing to read."""

    at_s: float
    status: Mapping[str, object] = field(default_factory=dict)
    figures: Figures = field(default_factory=dict)
    clusters: tuple[Mapping[str, object], ...] = ()
    problem: str = ""


def parse_figures(text: str) -> Figures:
    """The samples of a metrics page. Raises ValueError."""
    found: dict[str, dict[Labels, float]] = defaultdict(dict)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name][tuple(sorted(sample.labels.items()))] = sample.value
    return dict(found)


def at(tree: object, *path: str) -> object:
    """What a tree has there; None where it does not go so far."""
    for key in path:
        if not isinstance(tree, Mapping):
            return None
        tree = tree.get(key)
    return tree


def number(tree: object, *path: str) -> float:
    """A number there, 0 where there is none."""
    value = at(tree, *path)
    return float(value) if isinstance(value, int | float) else 0.0


def text(tree: object, *path: str) -> str:
    """A text there, empty where there is none."""
    value = at(tree, *path)
    return "" if value is None else str(value)


def listed(tree: object, *path: str) -> list[object]:
    """A list there, empty where there is none."""
    value = at(tree, *path)
    return list(value) if isinstance(value, list | tuple) else []


def figure(reading: Reading, name: str) -> float:
    """The sum of all samples of that name."""
    return sum(reading.figures.get(name, {}).values())


def rate(before: float, now: float, span_s: float) -> float:
    """Per second. A counter that is smaller than it was began anew, from 0."""
    if span_s <= 0:
        return 0.0
    return (now - before if now >= before else now) / span_s


def rates(
    before: Reading, now: Reading, name: str
) -> Iterator[tuple[dict[str, str], float, float]]:
    """(labels, per second, total) of each sample of a counter."""
    earlier, span_s = before.figures.get(name, {}), now.at_s - before.at_s
    for labels, value in now.figures.get(name, {}).items():
        yield dict(labels), rate(earlier.get(labels, 0.0), value, span_s), value


def quantile(before: Reading, now: Reading, name: str, share: float) -> float | None:
    """Of a histogram, between two readings: the upper bound under which that share lies; of all
    time where nothing happened between. None without any; beyond the last bound, that bound."""
    later = _buckets(now, name)
    earlier = dict(_buckets(before, name))
    grown = [(bound, count - earlier.get(bound, 0.0)) for bound, count in later]
    for buckets in (grown, later):
        whole = buckets[-1][1] if buckets else 0.0
        if whole > 0:
            last = max((bound for bound, _ in buckets if bound != inf), default=None)
            found = next(bound for bound, count in buckets if count >= share * whole)
            return last if found == inf else found
    return None


def _buckets(reading: Reading, name: str) -> list[tuple[float, float]]:
    samples = reading.figures.get(f"{name}_bucket", {})
    return sorted((float(dict(labels)["le"]), count) for labels, count in samples.items())
