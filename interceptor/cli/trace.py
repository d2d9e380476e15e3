"""`interceptor trace`: what the running daemon decides, live."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

import click

from interceptor.cli import duration, option
from interceptor.config import Config
from interceptor.debug import control, selection, summary
from interceptor.debug import event as events
from interceptor.debug.selection import MAXIMUM_RATE, RATE, Selection
from interceptor.debug.summary import Summary
from interceptor.errors import InterceptorError

Tree = dict[str, object]


@click.command()
@click.option("--name", "names", multiple=True, metavar="GLOB", help="Names asked for.")
@click.option("--pid", "pids", multiple=True, type=int, help="Processes.")
@click.option("--unit", "units", multiple=True, metavar="GLOB", help="systemd units.")
@click.option(
    "--service", "services", multiple=True, metavar="GLOB", help="Hosts of the mesh, whole or not."
)
@click.option(
    "--verdict", "verdicts", multiple=True, type=click.Choice(selection.VERDICTS), help="Fates."
)
@click.option("--summary", "in_sum", is_flag=True, help="Count instead: the most frequent of each.")
@click.option(
    "--rate",
    type=click.IntRange(1, MAXIMUM_RATE),
    help=f"At most so many a second [default: {RATE}, with --summary {MAXIMUM_RATE}].",
)
@click.option("--duration", "duration_s", callback=duration.option, help="End after that time.")
@click.option("--count", type=click.IntRange(1), default=None, help="End after so many.")
@option.as_json
@option.configured
def trace(
    config: Config,
    names: tuple[str, ...],
    pids: tuple[int, ...],
    units: tuple[str, ...],
    services: tuple[str, ...],
    verdicts: tuple[str, ...],
    in_sum: bool,
    rate: int | None,
    duration_s: float | None,
    count: int | None,
    as_json: bool,
) -> None:
    """Live decisions of the daemon, one line each, until Ctrl-C.

    Time, process, flow, name asked or service called, verdict, answer or where
    it went, reason, how long it took. Filters of one sort add up, filters of
    different sorts must all fit; the daemon applies them. What a bound left
    out is counted and said.
    """
    most = rate or (MAXIMUM_RATE if in_sum else RATE)
    wanted = Selection(names, pids, units, services, verdicts, most, duration_s or 0.0, count or 0)
    lines = _whole(control.stream(config.agent.run_dir, selection.encode(wanted)), wanted)
    if in_sum:
        _sum(lines, as_json=as_json)
    elif as_json:
        _print(filter(_is_news, lines))
    else:
        _tell(lines, most)


def _whole(lines: Iterable[Tree], wanted: Selection) -> Iterator[Tree]:
    """A stream that was to go on for ever ends only with its daemon."""
    yield from lines
    if not (wanted.count or wanted.duration_s):
        raise InterceptorError("the daemon ended the trace: it stops or reloads; trace again")


def _is_news(line: Tree) -> bool:
    """Whether it says more than that the daemon lives."""
    return "kind" in line or bool(line.get("left_out")) or "note" in line


def _print(lines: Iterable[Tree]) -> None:
    with suppress(KeyboardInterrupt):
        for line in lines:
            print(json.dumps(line), flush=True)


def _tell(lines: Iterable[Tree], rate: int) -> None:
    total = 0
    try:
        with suppress(KeyboardInterrupt):
            for line in lines:
                if "kind" in line:
                    print(events.render(events.decode(line)), flush=True)
                else:
                    total += _said(line, f"at most {rate} a second: --rate")
    finally:
        if total:
            print(f"trace: {total} were left out in all", file=sys.stderr)


def _said(line: Tree, hint: str) -> int:
    """Say on the side what a line says besides events. Returns how many were left out."""
    count = line.get("left_out")
    if note := line.get("note"):
        print(f"trace: {note}", file=sys.stderr)
    if not isinstance(count, int) or not count:
        return 0
    print(f"trace: {count} left out ({hint})", file=sys.stderr)
    return count


def _sum(lines: Iterable[Tree], *, as_json: bool) -> None:
    found = Summary()
    try:
        # Ctrl-C is how a trace ends: what was found stays.
        with suppress(KeyboardInterrupt), _shown(as_json=as_json) as show:
            for line in lines:
                if "kind" in line:
                    found.add(events.decode(line))
                    continue
                count = line.get("left_out")
                found.left_out += count if isinstance(count, int) else 0
                show(found)
    finally:
        print(json.dumps(summary.encode(found)) if as_json else summary.render(found))


@contextmanager
def _shown(*, as_json: bool) -> Iterator[Callable[[Summary], None]]:
    """On a terminal the counts are shown as they grow."""
    if as_json or not sys.stdout.isatty():
        yield lambda found: None
        return
    from rich.live import Live
    from rich.text import Text

    with Live(transient=True, auto_refresh=False) as live:
        yield lambda found: live.update(Text(summary.render(found)), refresh=True)
