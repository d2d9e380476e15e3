"""The benchmarks: ``python -m interceptor.lab.bench [--quick] [--json FILE] [PART]...``

Prints the machine, each variant's medians and, what counts, the ratios of
variants within the same round with their spread.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from interceptor.errors import InterceptorError
from interceptor.lab import bench_connection, bench_dns, bench_table, meter
from interceptor.lab.meter import Ratio, Rounds

PARTS = ("dns", "connection", "table")
MINIMUM_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Amount:
    """How much is measured: rounds, and operations in each."""

    rounds: int
    queries: int
    connections: int
    hosts: int


FULL = Amount(MINIMUM_ROUNDS, 20_000, 5_000, 100_000)
QUICK = Amount(1, 500, 200, 1_000)


def render_figures(title: str, rounds: Rounds) -> Table:
    """What every variant measured: medians, with least and greatest."""
    figures = dict.fromkeys(key for each in rounds.values() for row in each for key in row)
    table = Table("variant", *figures, title=title)
    for name, rows in rounds.items():
        cells = [
            str(meter.spread([row[key] for row in rows])) if key in rows[0] else ""
            for key in figures
        ]
        table.add_row(name, *cells)
    return table


def render_ratios(title: str, rounds: Rounds, ratios: Sequence[Ratio]) -> Table:
    """The ratios: median of the rounds' ratios, least and greatest, and the target."""
    table = Table("figure", "ours", "against", "ratio [least..most]", "target", title=title)
    for ratio in ratios:
        if ratio.ours in rounds and ratio.theirs in rounds:
            text = str(meter.compare(rounds, ratio))
            table.add_row(ratio.figure, ratio.ours, ratio.theirs, text, ratio.target)
    return table


def run(parts: Sequence[str], amount: Amount, console: Console) -> dict[str, object]:
    """Measure and print. Returns everything measured, for a file."""
    facts = meter.observe_machine()
    console.print(f"machine: {facts}")
    console.print(f"amount: {amount}")
    results: dict[str, object] = {"machine": facts}
    comparisons = {
        "dns": (bench_dns.run, amount.queries, bench_dns.RATIOS),
        "connection": (bench_connection.run, amount.connections, bench_connection.RATIOS),
    }
    say = _progress(console)
    for part in parts:
        if part == "table":
            results[part] = _run_table(amount, console, say)
            continue
        measure, count, ratios = comparisons[part]
        with tempfile.TemporaryDirectory(prefix="interceptor-bench-") as folder:
            Path(folder).chmod(0o755)
            rounds = measure(Path(folder), amount.rounds, count, say)
        console.print(render_figures(part, rounds))
        console.print(render_ratios(f"{part}: ratios within a round", rounds, ratios))
        results[part] = {name: [dict(row) for row in rows] for name, rows in rounds.items()}
    return results


def _run_table(
    amount: Amount, console: Console, say: Callable[[str], None]
) -> dict[str, dict[str, float]]:
    results: dict[str, dict[str, float]] = {}
    table = Table("source", title=f"table: {amount.hosts} hosts")
    for name, figures in bench_table.run(amount.hosts, say):
        if not results:
            for key in figures:
                table.add_column(key)
        results[name] = dict(figures)
        table.add_row(name, *(f"{value:.3g}" for value in figures.values()))
    console.print(table)
    return results


def _progress(console: Console) -> Callable[[str], None]:
    """On a terminal each round is said; a log gets the tables only."""
    if console.is_terminal:
        return lambda text: console.print(f"  {text}", style="dim")
    return lambda text: None


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit code: 1 when something could not be measured."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=(*PARTS, []), help="all of them by default")
    parser.add_argument("--quick", action="store_true", help="a smoke run; figures mean nothing")
    parser.add_argument("--rounds", type=int, help=f"at least {MINIMUM_ROUNDS} to be quoted")
    parser.add_argument("--json", type=Path, help="a file for everything measured")
    options = parser.parse_args(argv)
    amount = QUICK if options.quick else FULL
    if options.rounds:
        amount = Amount(options.rounds, amount.queries, amount.connections, amount.hosts)
    console = Console(width=None if sys.stdout.isatty() else 200)
    try:
        results = run(options.parts or PARTS, amount, console)
    except InterceptorError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
