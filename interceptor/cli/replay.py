"""`interceptor replay`: a capture run through table and plan, offline and without root."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from ipaddress import ip_address
from pathlib import Path
from typing import BinaryIO

import click

from interceptor import assembly, rehearsal
from interceptor.capture import factfile
from interceptor.capture.factfile import Saved
from interceptor.cli import main, option
from interceptor.config import Config
from interceptor.debug import contrast, pcap, selection
from interceptor.debug import replay as replaying
from interceptor.debug.attempt import UNKNOWN, Finder
from interceptor.debug.contrast import Contrast
from interceptor.debug.replay import Replayed
from interceptor.debug.selection import Selection
from interceptor.errors import ConfigError, InterceptorError, Problem
from interceptor.rehearsal import Owner, Rehearsal

VERDICTS = (*selection.VERDICTS, "dns")
EVERYTHING = Selection()
LARGE_BYTES = 4 << 20  # from which on a progress bar is worth its lines
STEP = 4096  # packets between two looks at the clock of the bar
TOP = 12  # rows of each part of a summary for people


@dataclasses.dataclass(frozen=True, slots=True)
class View:
    """What is to be printed."""

    wanted: Selection
    as_json: bool
    summary: bool
    every: bool

    def shows(self, each: Replayed) -> bool:
        return self.wanted == EVERYTHING or selection.decide(self.wanted, replaying.tell(each))


def _addresses(
    _ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    for value in values:
        try:
            ip_address(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from error
    return values


@click.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True, readable=False))
@click.option(
    "--facts",
    "facts_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The VM that was captured, as its `interceptor plan --facts` told [default: this host].",
)
@click.option(
    "--own", multiple=True, metavar="ADDR", callback=_addresses, help="An address of the VM."
)
@click.option("--interface", metavar="IFACE", help="The packets passed this link of the VM.")
@click.option(
    "--uid", type=int, help="User of who sent what left the VM, where the capture does not tell."
)
@click.option("--gid", type=int, help="The group of who sent it.")
@click.option(
    "--cgroup", default="", metavar="PATH", help="The cgroup of who sent it, below the mount."
)
@click.option(
    "--mesh",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Take the mesh from these documents.",
    metavar="PATH",
)
@option.nametable
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    metavar="CONFIG",
    help="Show what this configuration would do otherwise; exit code 4 where it does.",
)
@click.option(
    "--against-mesh",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Show what these mesh documents would change.",
)
@click.option(
    "--against-nametable",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Show what this name table would change.",
)
@click.option("--all", "every", is_flag=True, help="With --against: also what does not differ.")
@click.option("--name", "names", multiple=True, metavar="GLOB", help="Only this name or host.")
@click.option(
    "--verdict", "verdicts", multiple=True, type=click.Choice(VERDICTS), help="Only this verdict."
)
@click.option("--summary", is_flag=True, help="Counts by verdict, reason and name.")
@option.backend
@option.as_json
@option.configured
def replay(config: Config, /, file: Path, **given: object) -> int:
    """What would happen to the queries and connections of a capture.

    FILE is a pcap or pcapng file, or - for standard input. Each query and each connection
    attempt is run through the mesh table and the plan, as the daemon would decide. Nothing is
    sent, and no root is needed.
    """
    view = View(
        Selection(
            names=tuple(name.lower().rstrip(".") for name in _texts(given["names"])),
            verdicts=_texts(given["verdicts"]),
        ),
        bool(given["as_json"]),
        bool(given["summary"]),
        bool(given["every"]),
    )
    config = rehearsal.with_mesh(config, _paths(given["mesh"]), None)
    other = _other(config, given)
    saved = _saved(config, given["facts_path"])
    owner = Owner(_number(given["uid"]), _number(given["gid"]), str(given["cgroup"]))
    judges = [
        Rehearsal(each, saved, owner, assembly.load_table(each))
        for each in (config, other)
        if each is not None
    ]
    configs = [judge.config for judge in judges]
    link = given["interface"] or ""
    vantage = rehearsal.look_from(configs, saved.facts, _texts(given["own"]), str(link))
    places = frozenset[bytes]().union(*(judge.called.packed for judge in judges))
    finder = Finder(vantage, places.__contains__)
    failure = _read(file, finder)
    differs = _print(finder, judges, view, _titles(given))
    _tell_assumptions(finder, owner, len(vantage.own))
    if failure is not None:
        raise failure
    return main.DRIFT if differs else main.DONE


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, tuple) else ()


def _paths(value: object) -> tuple[Path, ...]:
    return tuple(map(Path, _texts(value)))


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _other(config: Config, given: dict[str, object]) -> Config | None:
    """The configuration to compare with; None where none is given."""
    against, nametable = given["against"], given["against_nametable"]
    files = _paths(given["against_mesh"])
    if not (against or files or nametable):
        return None
    base = option.load(against) if isinstance(against, Path) else config
    return rehearsal.with_mesh(base, files, nametable if isinstance(nametable, Path) else None)


def _titles(given: dict[str, object]) -> tuple[str, str]:
    other = (given["against"], *_paths(given["against_mesh"]), given["against_nametable"])
    return "as configured", " ".join(str(each) for each in other if each)


def _saved(config: Config, path: object) -> Saved:
    if not isinstance(path, Path):
        return rehearsal.observe(config)
    try:
        return factfile.decode(json.loads(path.read_bytes()), str(path))
    except (OSError, ValueError) as error:
        legal = "what `interceptor plan --facts` prints"
        raise ConfigError([Problem(str(path), "(file)", str(error), legal)]) from error


def _read(file: Path, finder: Finder) -> InterceptorError | None:
    """All packets, or those until Ctrl-C or the place where the file is damaged: the error."""
    try:
        if str(file) == "-":
            for record in pcap.read(file):
                finder.take(record)
            return None
        with _open(file) as stream, _bar(file) as advance:
            for number, record in enumerate(pcap.decode(stream, str(file))):
                finder.take(record)
                if not number % STEP:
                    advance(stream.tell())
    except KeyboardInterrupt:
        print(f"stopped after packet {finder.packets}", file=sys.stderr)
    except InterceptorError as error:
        return error
    return None


def _open(file: Path) -> BinaryIO:
    try:
        return file.open("rb")
    except OSError as error:
        legal = "a pcap or pcapng file"
        raise InterceptorError(f"{file}: {error.strerror}; name {legal}") from error


def _bar(file: Path) -> AbstractContextManager[Callable[[int], None]]:
    """What takes the bytes that were read so far: shown on a terminal, for a large file."""
    size = file.stat().st_size
    if not sys.stderr.isatty() or size < LARGE_BYTES:
        return nullcontext(lambda _done: None)
    from interceptor.cli.progress import bar

    return bar("reading", size)


def _print(finder: Finder, judges: list[Rehearsal], view: View, titles: tuple[str, str]) -> bool:
    """Print what is asked for. Whether two configurations differ."""
    results = [replaying.replay(finder.found, finder.again, judge) for judge in judges]
    if len(results) == 1:
        shown = filter(view.shows, results[0])
        _print_plain(shown, finder, view)
        return False
    every = [each for each in contrast.contrast(*results) if any(map(view.shows, each.sides))]
    differing = [each for each in every if each.differs]
    _print_contrast(every if view.every else differing, view, titles)
    if not view.as_json:
        print(f"{len(differing)} of {len(every)} differ")
    return bool(differing)


def _print_plain(shown: Iterator[Replayed], finder: Finder, view: View) -> None:
    if view.summary:
        summary = replaying.summarize(shown, finder.packets, finder.left)
        tree = replaying.encode_summary(summary)
        print(json.dumps(tree, indent=2) if view.as_json else _summary_text(summary))
        return
    for each in shown:
        print(json.dumps(replaying.encode(each)) if view.as_json else replaying.render(each))


def _print_contrast(shown: Iterable[Contrast], view: View, titles: tuple[str, str]) -> None:
    if view.summary:
        counts = contrast.summarize(shown)
        rows = [f"{count:>7}  {word}" for word, count in counts.items()]
        print(json.dumps(counts, indent=2) if view.as_json else "\n".join(rows))
    elif view.as_json:
        for each in shown:
            print(json.dumps(contrast.encode(each)))
    elif groups := contrast.group(shown):
        print(contrast.render(groups, titles))


def _summary_text(summary: replaying.Summary) -> str:
    again = f", {summary.again} sent again" if summary.again else ""
    lines = [f"{summary.attempts} attempts in {summary.packets} packets{again}"]
    parts = ("verdicts", summary.verdicts), ("reasons", summary.reasons), ("names", summary.names)
    for title, counts in (*parts, ("left out", summary.left)):
        if counts:
            lines += ["", title]
            lines += [f"  {count:>7}  {word}" for word, count in counts.most_common(TOP)]
            if len(counts) > TOP:
                lines.append(f"           and {len(counts) - TOP} more")
    return "\n".join(lines)


def _tell_assumptions(finder: Finder, owner: Owner, own: int) -> None:
    """On standard error: what the packets did not say, and what was taken for it."""
    if finder.packets and not finder.found:
        hint = "no query or connection of this VM's is in the capture"
        if finder.initiators:
            packed, count = finder.initiators.most_common(1)[0]
            hint += f"; {ip_address(packed)} begins {count} of others: --own, or --facts of its VM"
        elif not own:
            hint += ": tell its addresses by --own or --facts"
        print(hint, file=sys.stderr)
    unknown = sum(each.sender == UNKNOWN and each.hook.value == "output" for each in finder.found)
    if unknown and owner == Owner():
        print(
            f"{unknown} attempts do not tell their process: judged as one that no rule names"
            " (--uid, --gid, --cgroup)",
            file=sys.stderr,
        )
