"""What a benchmark consists of, as values: how much, of what, compared how, shown how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from interceptor.lab.bench.meter import Rounds, Row

BACKENDS = ("ebpf", "nftables", "iptables")


@dataclass(frozen=True, slots=True)
class Amount:
    """How much is measured. ``rounds`` of each comparison, and in each of them so many
    operations; ``changes`` are timed one by one."""

    rounds: int
    queries: int
    connections: int
    mib: int
    many_names: int
    hosts: int
    changes: int
    restarts: int
    soak_s: int


MINIMUM_ROUNDS = 5
FULL = Amount(MINIMUM_ROUNDS, 20_000, 5_000, 1024, 100_000, 100_000, 50, 5, 50)
QUICK = Amount(1, 500, 200, 16, 2_000, 2_000, 4, 1, 2)


@dataclass(frozen=True, slots=True)
class Session:
    """One run of the benchmarks. ``load`` is the load generator, ``folder`` for files,
    ``notes`` for what a reader of the figures has to know."""

    amount: Amount
    backends: tuple[str, ...]
    folder: Path
    load: str
    say: Callable[[str], None]
    notes: list[str]


@dataclass(frozen=True, slots=True)
class Chart:
    """One group of bars: a figure of every variant. ``note`` says in which direction is good."""

    title: str
    figure: str
    unit: str
    note: str = "less is better"


@dataclass(frozen=True, slots=True)
class Part:
    """One benchmark. ``about`` explains it to a reader, in Markdown; ``figures`` what each is."""

    name: str
    title: str
    about: str
    measure: Callable[[Session], Rounds]
    rows: tuple[Row, ...]
    figures: Mapping[str, str]
    charts: tuple[Chart, ...] = ()
