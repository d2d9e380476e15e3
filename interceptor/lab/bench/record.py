"""What was measured, as a value and as the JSON file that keeps it."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from interceptor.errors import InterceptorError
from interceptor.lab.bench.meter import Rounds


@dataclass(frozen=True, slots=True)
class Outcome:
    """One part's figures, where and when they were taken, and what a reader has to know."""

    part: str
    machine: str
    when: str
    amounts: Mapping[str, int]
    rounds: Rounds
    notes: tuple[str, ...] = ()


def encode(outcomes: Iterable[Outcome]) -> str:
    """The file: an object with a member for each part."""
    tree = {outcome.part: asdict(outcome) for outcome in outcomes}
    return json.dumps(tree, indent=1) + "\n"


def decode(text: str) -> tuple[Outcome, ...]:
    """The inverse of `encode`. Raises InterceptorError for anything else."""
    try:
        tree: Mapping[str, Mapping[str, object]] = json.loads(text)
        found = [Outcome(**outcome) for outcome in tree.values()]  # type: ignore[arg-type]
        return tuple(replace(outcome, notes=tuple(outcome.notes)) for outcome in found)
    except (ValueError, TypeError, AttributeError) as error:
        raise InterceptorError(f"not a file of benchmarks: {error}") from error


def merge(old: Iterable[Outcome], new: Iterable[Outcome]) -> tuple[Outcome, ...]:
    """The old parts, with the new ones in their place or behind them."""
    return tuple({outcome.part: outcome for outcome in (*old, *new)}.values())


def observe_machine() -> str:
    """The machine that the figures are from, in a line."""
    model = "unknown CPU"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} × {model}, Linux {platform.release()}, "
        f"Python {platform.python_version()}, load {load:.2f} before"
    )
