"""`interceptor top`: what is asked and called here, and how the agent is, live."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from time import sleep
from typing import TYPE_CHECKING

import click

from interceptor.cli import duration, option
from interceptor.config import Config

if TYPE_CHECKING:
    from interceptor.debug.board import Screen
    from interceptor.debug.lookout import Lookout
    from interceptor.debug.top import View

SORTS = ("rate", "latency", "name")
LEGAL_S = (0.1, 3600.0)


def _interval(ctx: click.Context, param: click.Parameter, value: str) -> float:
    found = duration.option(ctx, param, value)
    if found is None or not LEGAL_S[0] <= found <= LEGAL_S[1]:
        raise click.BadParameter(f"{value}: legal: 100ms to 1h")
    return found


@click.command()
@click.option(
    "--interval",
    "interval_s",
    default="2s",
    metavar="DURATION",
    callback=_interval,
    help="Time between two looks [default: 2s].",
)
@click.option("--batch", is_flag=True, help="Print plain text, as to a pipe.")
@click.option("--once", is_flag=True, help="Print one interval: --batch -n 1.")
@click.option("-n", "count", type=click.IntRange(1), help="End after so many intervals.")
@click.option(
    "--rows", type=click.IntRange(1), default=20, help="Rows of a printed table [default: 20]."
)
@click.option("--sort", type=click.Choice(SORTS), default="rate", help="Order [default: rate].")
@click.option("--filter", "wanted", default="", metavar="TEXT", help="Only rows that hold TEXT.")
@click.option("--no-trace", is_flag=True, help="Without live decisions: no names, no reasons.")
@option.as_json
@option.configured
def top(
    config: Config,
    interval_s: float,
    batch: bool,
    once: bool,
    count: int | None,
    rows: int,
    sort: str,
    wanted: str,
    no_trace: bool,
    as_json: bool,
) -> None:
    """Names and services by rate and latency, verdicts, reasons, and how the agent is.

    Keys: q quit; r, l, n order by rate, latency, name; c who calls, instead of services;
    / filter; p pause. To a pipe, and with --batch or --once, it prints tables; with --json
    everything, one object a line for each interval.
    """
    from interceptor.debug.board import Screen, Sort
    from interceptor.debug.lookout import Lookout

    screen = Screen(order=Sort[sort.upper()], wanted=wanted)
    limit = 1 if once else count or 0
    is_live = sys.stdout.isatty() and sys.stdin.isatty()

    def wait(passed_s: float) -> bool:
        sleep(max(0.0, interval_s - passed_s))
        return True

    try:
        with Lookout(config.agent.run_dir, follows=not no_trace) as lookout:
            if is_live and not (batch or once or as_json):
                _show(lookout, screen, interval_s, limit)
            else:
                _print(lookout.views(wait, limit), None if as_json else screen, rows)
    except KeyboardInterrupt:
        pass  # what was found has been printed


def _print(found: Iterator[View], screen: Screen | None, rows: int) -> None:
    """Without a screen: as JSON."""
    from interceptor.debug import board, top

    for view in found:
        if screen is None:
            click.echo(json.dumps(top.encode(view)))
        else:
            lines = board.render_plain(view, screen, rows)
            click.echo("".join(f"{line.text.rstrip()}\n" for line in lines))


def _show(lookout: Lookout, screen: Screen, interval_s: float, limit: int) -> None:
    from interceptor.debug.live import Live
    from interceptor.debug.terminal import Terminal

    with Terminal() as terminal:
        Live(lookout, terminal, screen).run(interval_s, limit)
