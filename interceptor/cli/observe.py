"""`interceptor observe`: what this VM calls and serves, as the YAML that a mesh would need."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from interceptor.cli import duration, option
from interceptor.config import Config
from interceptor.mesh import field

if TYPE_CHECKING:
    from interceptor.debug.observed import Observation
    from interceptor.moving import Outcome
    from interceptor.observation import Progress as Seen
    from interceptor.observation import Tell

_MOST_CASES = 5


def _label(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """A namespace, as the mesh's documents may bear it."""
    notes: field.Notes = []
    if value is not None:
        field.label(notes, "", value, "a namespace")
    if notes:
        raise click.BadParameter(f"{notes[0].value}: {notes[0].legal}")
    return value


@click.command()
@click.option(
    "--duration",
    "duration_s",
    callback=duration.option,
    default="60s",
    show_default=True,
    help="How long to watch; Ctrl-C ends it earlier and loses nothing.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write the files there; without it the report is printed.",
)
@click.option("--force", is_flag=True, help="Write over an earlier run's files.")
@click.option("--append", is_flag=True, help="Add to what an earlier run observed.")
@click.option(
    "--namespace", callback=_label, help="Namespace of the documents [default: node.namespace]."
)
@click.option("--app", default="", help="Name of the workload [default: the host's name].")
@click.option(
    "--exclude",
    multiple=True,
    metavar="NAME|CIDR",
    help="Leave out calls to names (*.example.com) or addresses; may be given several times.",
)
@click.option(
    "-r",
    "--read",
    "capture",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Observe a pcap or pcapng instead of this host.",
)
@click.option(
    "--address",
    multiple=True,
    metavar="ADDR",
    help="With -r: an address of the VM in the capture [default: who asks and calls most].",
)
@option.as_json
@option.configured
def observe(
    config: Config,
    duration_s: float,
    output: Path | None,
    force: bool,
    append: bool,
    namespace: str | None,
    app: str,
    exclude: tuple[str, ...],
    capture: Path | None,
    address: tuple[str, ...],
    as_json: bool,
) -> None:
    """Watch what this VM asks and calls, and write the YAML that it would need in a mesh.

    Changes nothing and captures nothing: no rules, no BPF programs, no packet
    held up. Writes ServiceEntries for the hosts that are called, the
    WorkloadGroup with the ports served, our configuration with the CIDRs to
    include, and a report of what would break. Needs root, or with -r nothing.
    """
    from interceptor import moving
    from interceptor.debug import observed
    from interceptor.debug.draft import Wish

    # Whatever may be wrong is told before the watch, and costs nobody an hour.
    before = moving.check_folder(output, force=force, append=append) if output else None
    answers = moving.observe_mesh(config, output)
    found = _watch(config, duration_s) if capture is None else _reread(config, capture, address)
    if before is not None:
        found = observed.merge(before, found)
    wish = Wish(namespace or config.node.namespace, config.node.domain, app, exclude)
    outcome = moving.build(answers, found, wish, output)
    paths = moving.apply(outcome) if output else ()
    if as_json:
        click.echo(moving.text(outcome))
    elif output:
        _tell(outcome, paths)
    else:
        click.echo(dict(outcome.texts)[moving.REPORT], nl=False)


def _watch(config: Config, duration_s: float) -> Observation:
    from interceptor import observation

    with _interrupted_by_sigterm(), _progress(duration_s) as tell:
        return observation.watch(config, duration_s, tell)


def _reread(config: Config, capture: Path, address: tuple[str, ...]) -> Observation:
    from interceptor import rewatch

    return replace(rewatch.observe(capture, address), host=config.node.name)


def _tell(outcome: Outcome, paths: Sequence[Path]) -> None:
    """What came of it, in short; the report has the rest."""
    from interceptor.debug.concern import Weight

    click.echo(outcome.summary)
    for concern in outcome.concerns:
        if concern.weight is Weight.BREAKS:
            click.echo(f"\n{concern.title}:")
            for case in concern.cases[:_MOST_CASES]:
                click.echo(f"  {case}")
    click.echo("\nwritten:")
    for path in paths:
        click.echo(f"  {path}")
    click.echo("\nnext:")
    for line in outcome.commands:
        click.echo(f"  {line}")


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the watch as Ctrl-C does: what was seen is written."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _progress(duration_s: float) -> Iterator[Tell]:
    """A line that tells how far it is, on a terminal; elsewhere nothing."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    counts = TextColumn("{task.fields[told]}")
    columns = (TextColumn("watching"), BarColumn(), TimeRemainingColumn(), counts)
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=duration_s, told="")

        def tell(now: Seen) -> None:
            told = f"{now.names} names, {now.connections} connections, {now.listeners} listeners"
            told += f", {now.lost} packets lost" if now.lost else ""
            bar.update(task, completed=now.seconds, told=told)

        yield tell
