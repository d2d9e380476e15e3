"""`interceptor join` and `leave`: a bundle of files makes this host a member, and back."""

from __future__ import annotations

import difflib
import functools
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from interceptor import enlistment, joining
from interceptor.cli import option, unit
from interceptor.config import DEFAULT_PATH
from interceptor.debug import control
from interceptor.enlistment import HOST, Setting
from interceptor.errors import ConfigError, InterceptorError
from interceptor.host.footprint import Draft
from interceptor.joining import Ground, Joining
from interceptor.workload import bundle, carrier, certificate

_rooted = click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=HOST,
    metavar="DIR",
    help="The host's files are below this folder: an image that is not booted.",
)


@click.command()
@click.argument("source", metavar="BUNDLE", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Print what would be done, and do nothing.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask, on a terminal, before it is done.")
@click.option("--no-start", is_flag=True, help="Write the files; leave the service alone.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0),
    default=60.0,
    metavar="SECONDS",
    help="How long the daemon may take to be ready [default: 60].",
)
@_rooted
@option.as_json
def join(
    source: Path,
    dry_run: bool,
    yes: bool,
    no_start: bool,
    timeout_s: float,
    root: Path,
    as_json: bool,
) -> None:
    """Make this host a member of a mesh, by the files of a bundle.

    BUNDLE is a folder, tar or zip with cluster.env, mesh.yaml, root-cert.pem, istio-token and
    hosts, as `interceptor workload entry configure` or istioctl writes them. Everything is checked
    first; `leave` puts back what was there.
    """
    setting = Setting(root.absolute(), not no_start, unit.render(unit.own_program()), timeout_s)
    found, drafts = _decide(source, setting, dry_run)
    if as_json:
        click.echo(json.dumps(_tree(found, drafts, setting), indent=2))
    else:
        _show(found, drafts, setting)
    if dry_run:
        return
    if not yes and sys.stdin.isatty():
        click.confirm("go on?", default=True, abort=True)
    tell = functools.partial(click.echo, err=as_json)
    enlistment.join(drafts, setting, found, tell)
    for line in _told(found, setting):
        tell(line)


def _decide(source: Path, setting: Setting, dry_run: bool) -> tuple[Joining, tuple[Draft, ...]]:
    """What would be written. Raises ConfigError with the problems of bundle and host alike."""
    problems = [] if dry_run else enlistment.check_host(setting)
    try:
        files, _rest = bundle.select(carrier.observe(source))
        footprint = enlistment.open_footprint(setting.root)
        present = enlistment.read_present(setting.root, footprint)
        ground = Ground(present, certificate.now_s(), option.user_id, option.group_id)
        found = joining.decide(files, str(source), ground)
    except ConfigError as error:
        raise ConfigError([*error.problems, *problems]) from error
    if problems:
        raise ConfigError(problems)
    return found, enlistment.choose_drafts(found, setting)


def _is_new(draft: Draft, setting: Setting) -> str:
    """new, changed or the same."""
    path = setting.root / draft.path.relative_to(HOST)
    try:
        return "same" if path.read_bytes() == draft.data else "changed"
    except OSError:
        return "new"


def _steps(setting: Setting) -> list[str]:
    if not setting.is_started:
        return []
    verbs = f"systemctl enable {enlistment.UNIT}"
    return [verbs, f"systemctl restart {enlistment.UNIT}"] if setting.is_host else [verbs]


def _tree(found: Joining, drafts: tuple[Draft, ...], setting: Setting) -> dict[str, object]:
    files = [
        {
            "path": str(draft.path),
            "mode": f"{draft.mode:04o}",
            "bytes": len(draft.data),
            "state": _is_new(draft, setting),
        }
        for draft in drafts
    ]
    return {
        "member": found.member,
        "control_plane": found.control_plane,
        "files": files,
        "steps": _steps(setting),
        "notes": list(found.notes),
    }


def _show(found: Joining, drafts: tuple[Draft, ...], setting: Setting) -> None:
    click.echo(f"{found.member}\n  by {found.control_plane}")
    for draft in drafts:
        size = f"{len(draft.data)} bytes"
        click.echo(f"  {_is_new(draft, setting):8} {draft.mode:04o} {draft.path}  {size}")
    for line in _changes(drafts[0], setting):
        click.echo(f"    {line}")
    for step in _steps(setting):
        click.echo(f"  then     {step}")
    for note in found.notes:
        click.echo(f"  note: {note}")


def _changes(draft: Draft, setting: Setting) -> Iterator[str]:
    """Of the configuration; no other file has anything to read in it."""
    try:
        before = (setting.root / DEFAULT_PATH.relative_to(HOST)).read_text().splitlines()
    except OSError:
        before = []
    lines = difflib.unified_diff(before, draft.data.decode().splitlines(), lineterm="", n=1)
    yield from (line for line in lines if not line.startswith(("---", "+++")))


def _told(found: Joining, setting: Setting) -> Iterator[str]:
    """Who this is, and what to try."""
    if not (setting.is_started and setting.is_host):
        how = "" if setting.is_host else f" in {setting.root}"
        yield f"the files are in place{how}; a start of {enlistment.UNIT} makes it a member"
        return
    yield f"this host is {found.member}"
    try:
        names = control.request(found.config.agent.run_dir, "GET", "/debug/ndsz")
    except InterceptorError:
        names = {}
    table = names.get("table", {}) if isinstance(names, dict) else {}
    yield f"{len(table)} names of the mesh; to try:"
    yield from (f"  getent hosts {name}" for name in sorted(table)[:2])
    yield "  interceptor status\n  interceptor doctor\n  interceptor leave"


@click.command()
@_rooted
def leave(root: Path) -> None:
    """Undo `join`: every file as it was before, the service as it was found.

    Works after a join that was cut short, too. A file that somebody has edited since is kept
    beside it, under a name that is told.
    """
    enlistment.leave(root.absolute(), click.echo)
