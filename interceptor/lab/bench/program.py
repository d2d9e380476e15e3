"""The command line of the benchmarks: `interceptor bench`, `scripts/bench`."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console

from interceptor.errors import InterceptorError
from interceptor.lab.bench import (
    chart,
    connection,
    dns,
    document,
    life,
    load,
    push,
    record,
    soak,
    table,
    trace,
    view,
)
from interceptor.lab.bench.part import BACKENDS, FULL, MINIMUM_ROUNDS, QUICK, Part, Session
from interceptor.lab.bench.record import Outcome

PARTS: tuple[Part, ...] = (
    *dns.PARTS,
    *connection.PARTS,
    *push.PARTS,
    *table.PARTS,
    *life.PARTS,
    *trace.PARTS,
    *soak.PARTS,
)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The words of the command line."""
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(
        prog="bench",
        description="Measures every target of the design, as ratios within one run.",
        epilog="; ".join(f"{part.name}: {part.title}" for part in PARTS),
    )
    parser.add_argument("parts", nargs="*", choices=(*names, []), help="all of them by default")
    parser.add_argument("--quick", action="store_true", help="a smoke run; figures mean nothing")
    parser.add_argument("--rounds", type=int, help=f"at least {MINIMUM_ROUNDS} to be quoted")
    parser.add_argument(
        "--backend", action="append", choices=BACKENDS, help="may be repeated; all by default"
    )
    parser.add_argument(
        "--json", type=Path, help="keeps what is measured beside what it has of other parts"
    )
    parser.add_argument("--docs", type=Path, help="folder for BENCHMARKS.md, bench.svg, bench.json")
    parser.add_argument("--render", action="store_true", help="measure nothing, write --docs anew")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 1 when something could not be measured."""
    options = parse(argv)
    console = Console(width=None if sys.stdout.isatty() else 200)
    wanted = [
        part for part in PARTS if part.name in (options.parts or [each.name for each in PARTS])
    ]
    try:
        is_whole = options.render or measure(options, wanted, console)
        if options.docs:
            write_docs(options.docs)
    except InterceptorError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0 if is_whole else 1


def measure(options: argparse.Namespace, wanted: Sequence[Part], console: Console) -> bool:
    """Run the parts, one after the other, and print and keep each as soon as it is done.

    Returns whether all could be measured; one that could not does not stop the others.
    """
    is_whole = True
    amount = QUICK if options.quick else FULL
    if options.rounds:
        amount = replace(amount, rounds=options.rounds)
    console.print(f"machine: {record.observe_machine()}")
    console.print(f"amount: {amount}")
    backends = tuple(options.backend or BACKENDS)
    with tempfile.TemporaryDirectory(prefix="interceptor-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        program = load.build(folder)
        for part in wanted:
            session = Session(amount, backends, folder, program, progress(console), [])
            try:
                outcome = run(part, session)
            except InterceptorError as error:
                print(f"bench: {part.name}: {error}", file=sys.stderr)
                is_whole = False
                continue
            show(part, outcome, console)
            for file in (options.json, options.docs and options.docs / "bench.json"):
                if file:
                    keep(file, outcome)
    return is_whole


def show(part: Part, outcome: Outcome, console: Console) -> None:
    """One part on the terminal."""
    console.print(view.render_figures(part, outcome.rounds))
    console.print(view.render_rows(part, outcome.rounds))
    for note in outcome.notes:
        console.print(f"note: {note}", markup=False)


def run(part: Part, session: Session) -> Outcome:
    """One part, measured."""
    machine, when = record.observe_machine(), time.strftime("%Y-%m-%d", time.gmtime())
    rounds = part.measure(session)
    amounts = asdict(session.amount)
    return Outcome(part.name, machine, when, amounts, rounds, tuple(session.notes))


def keep(file: Path, outcome: Outcome) -> None:
    """Put a part's figures into the file, beside those of other parts."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(record.encode(record.merge(read(file), [outcome])))


def read(file: Path) -> tuple[Outcome, ...]:
    """What a file holds so far; nothing where there is none."""
    with suppress(FileNotFoundError):
        return record.decode(file.read_text())
    return ()


def write_docs(folder: Path) -> None:
    """The page and the picture, from what the folder's bench.json holds."""
    known = {outcome.part: outcome for outcome in read(folder / "bench.json")}
    outcomes = [known[part.name] for part in PARTS if part.name in known]
    panels = [
        chart.build_panel(each, known[part.name].rounds)
        for part in PARTS
        if part.name in known
        for each in part.charts
    ]
    caption = "; ".join(dict.fromkeys(f"{one.when}, {one.machine}" for one in outcomes[:1]))
    (folder / "BENCHMARKS.md").write_text(document.render(PARTS, outcomes))
    (folder / "bench.svg").write_text(chart.render(panels, caption))


def progress(console: Console) -> Callable[[str], None]:
    """On a terminal each round is said; a log gets the tables only."""
    if console.is_terminal:
        return lambda text: console.print(f"  {text}", style="dim")
    return lambda text: None
