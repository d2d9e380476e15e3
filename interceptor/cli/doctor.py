"""`interceptor doctor`: what this host can do, what stands in the way; a bundle for a report."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from interceptor.cli import option
from interceptor.config import Config
from interceptor.debug.doctor import check as verdict
from interceptor.debug.doctor.check import Check, Group, State

if TYPE_CHECKING:
    from interceptor.bundle import Wish
    from interceptor.checkup import Seen

Tell = Callable[[str], None]


@click.command()
@click.option("--no-self-test", is_flag=True, help="Facts only; makes no network namespace.")
@click.option(
    "--only",
    type=click.Choice([group.value for group in Group]),
    multiple=True,
    help="Only this group of checks; may be given several times.",
)
@click.option(
    "--bundle",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Collect everything for a bug report, secrets removed: FILE.tar.gz or FILE.zip.",
)
@click.option("--with-mesh", is_flag=True, help="Put the whole mesh table in the bundle.")
@option.backend
@option.as_json
@option.configured
def doctor(
    config: Config,
    no_self_test: bool,
    only: tuple[str, ...],
    bundle: Path | None,
    with_mesh: bool,
    as_json: bool,
) -> int:
    """What this host can do and what stands in the way, each with its cure; then self-tests.

    The self-tests need root. They run a daemon in network namespaces of their own, take some
    ten seconds and leave nothing. Exit code 0 without a fault, 1 with one, 3 where no back
    end can run here.

    --bundle collects rules, routes, configuration, status, logs and Envoy's own view, secrets
    taken out, into a file that only its owner may read; MANIFEST.txt says what is in it.
    """
    from interceptor import checkup
    from interceptor.bundle import Wish

    if bundle is not None and bundle.exists():
        raise click.BadParameter(f"{bundle} is there already; name another file")
    groups = frozenset(map(Group, only)) or frozenset(Group)
    checks: list[Check] = []
    with _progress() as tell, _interruptible():
        seen = checkup.observe(config, tell)
        checks += checkup.judge(seen, config, groups)
        is_whole = True
        if Group.SELF_TEST in groups and not no_self_test:
            is_whole = _try(seen, checks, tell)
        if bundle is not None:
            _collect(config, Wish(bundle, _tree(checks, is_whole=is_whole), with_mesh), tell)
    _show(checks, as_json=as_json, is_whole=is_whole)
    return verdict.exit_code(checks, can_run=seen.choice is not None)


def _try(seen: Seen, checks: list[Check], tell: Tell) -> bool:
    """Add the outcomes of the self-tests as they come; false where somebody lost patience."""
    from interceptor import selftest

    try:
        with closing(selftest.run(seen.choice, tell)) as found:
            for each in found:
                checks.append(each)
    except KeyboardInterrupt:
        return False
    return True


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM is taken as Ctrl-C is: what was put up is taken down first."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    was = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, was)


@contextmanager
def _progress() -> Iterator[Tell]:
    """A line on the terminal that says what is looked at; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console

    with Console(stderr=True).status("") as status:
        yield lambda what: status.update(f"{what} …")


def _collect(config: Config, wish: Wish, tell: Tell) -> None:
    from interceptor import bundle

    items = bundle.send(config, wish, tell)
    removed = sum(item.removed for item in items)
    left = sum(bool(item.left_out) for item in items)
    said = f"{len(items) - left} texts in {wish.path}, {removed} secrets removed, {left} left out"
    click.echo(f"{said}; MANIFEST.txt in it tells which", err=True)


def _tree(checks: Collection[Check], *, is_whole: bool) -> dict[str, object]:
    return {
        "checks": [verdict.encode(each) for each in checks],
        "counts": {state.value: number for state, number in verdict.count(checks).items()},
        "whole": is_whole,
    }


def _show(checks: Collection[Check], *, as_json: bool, is_whole: bool) -> None:
    from interceptor.debug.doctor import table

    if as_json:
        click.echo(json.dumps(_tree(checks, is_whole=is_whole), indent=2))
        return
    from rich.console import Console

    end = "" if is_whole else " (interrupted)"
    if sys.stdout.isatty():
        Console(highlight=False).print(table.render(checks))
    else:
        click.echo(table.text(checks))
    click.echo(f"\n{table.sentence(checks)}{end}")
    if any(each.state is State.FAULT for each in checks):
        click.echo("for a report: interceptor doctor --bundle FILE")
