"""`interceptor capture`: packets into a file, each with the decision about it."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import TYPE_CHECKING

import click

from interceptor.cli import duration, option
from interceptor.config import Config
from interceptor.debug.selection import Selection
from interceptor.errors import ConfigError, Problem

if TYPE_CHECKING:  # what reads packets is loaded when it is called
    from interceptor.debug.pcapfile import Ring
    from interceptor.recording import Bounds, Recording
    from interceptor.tap import Wish

_SIZES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_LEAST_RING = 64 << 10
_REDRAW_S = 0.5


def _size(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int:
    """Bytes: ``10m`` is 10 MiB."""
    if value is None:
        return 0
    number, unit = value.rstrip("kKmMgG"), value[len(value.rstrip("kKmMgG")) :].lower()
    if not number.isdigit() or unit not in _SIZES or not int(number):
        raise click.BadParameter(f"{value}: not a size; legal: 500k, 10m, 1g, plain bytes")
    return int(number) * _SIZES[unit]


@click.command()
@click.option(
    "-w",
    "path",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="Where to; - is standard output.",
)
@click.option(
    "-i", "interfaces", multiple=True, metavar="IFACE", help="Only this link; repeatable."
)
@click.option(
    "--filter", "expression", default="", metavar="EXPR", help="pcap-filter(7), of links."
)
@click.option("--name", "names", multiple=True, metavar="GLOB", help="Only this name, as in trace.")
@click.option("--service", "services", multiple=True, metavar="GLOB", help="Only this mesh host.")
@click.option("--all", "everything", is_flag=True, help="Also what is neither DNS nor captured.")
@click.option("--ring-files", type=click.IntRange(2, 10_000), help="Keep this many files.")
@click.option("--ring-size", callback=_size, metavar="SIZE", help="Of each; 100m by default.")
@click.option("--max-size", callback=_size, metavar="SIZE", help="End at this size in all.")
@click.option(
    "--duration",
    "duration_s",
    callback=duration.option,
    metavar="DURATION",
    help="End after so long: 60s, 2m, 1h.",
)
@click.option("--count", type=click.IntRange(1), metavar="N", help="End after N packets.")
@click.option(
    "--snaplen",
    type=click.IntRange(64, 262_144),
    default=262_144,
    metavar="BYTES",
    help="Keep this much of each packet [default: all].",
)
@option.as_json
@option.configured
def capture(
    config: Config,
    path: Path,
    interfaces: tuple[str, ...],
    expression: str,
    names: tuple[str, ...],
    services: tuple[str, ...],
    everything: bool,
    ring_files: int | None,
    ring_size: int,
    max_size: int,
    duration_s: float | None,
    count: int | None,
    snaplen: int,
    as_json: bool,
) -> None:
    """Write packets to FILE (pcapng), each with the decision about it.

    DNS, captured connections before and after their redirection, and what the sidecar opens
    itself, each from its own interface of the file. Read it with Wireshark, with
    `tshark -r FILE -T fields -e frame.interface_name -e frame.comment`, or `interceptor replay`.

    Queries that the kernel answers reach no link: they are rebuilt from their answers. A
    --filter is about packets as links show them, rewritten; --name and --service are about
    decisions. Ctrl-C ends; the file is whole then.
    """
    from interceptor.recording import Bounds
    from interceptor.tap import Wish

    wish = Wish(interfaces, expression, snaplen, everything)
    bounds = Bounds(duration_s or 0, count or 0, max_size)
    wanted = Selection(names=names, services=services)
    record(config, wish, wanted, (path, _ring(path, ring_files, ring_size)), (bounds, as_json))


def _ring(path: Path, files: int | None, size: int) -> Ring:
    from interceptor.debug.pcapfile import Ring

    if (files or size) and str(path) == "-":
        raise ConfigError([Problem("-w", "file", "-", "a file name where there is a ring")])
    if 0 < size < _LEAST_RING:
        raise ConfigError([Problem("--ring-size", "size", str(size), "64k or more")])
    default = Ring()
    return Ring(files or (10 if size else 0), size or default.file_bytes)


def record(
    config: Config,
    wish: Wish,
    wanted: Selection,
    target: tuple[Path, Ring],
    ending: tuple[Bounds, bool],
) -> None:
    """Capture until a bound, Ctrl-C, or SIGTERM. ``ending``: the bounds, whether to report as
    JSON."""
    from interceptor import recording

    bounds, as_json = ending
    out = sys.stderr if str(target[0]) == "-" else sys.stdout
    stopped: list[int] = []
    with ExitStack() as undo:
        for number in (signal.SIGINT, signal.SIGTERM):
            _on(number, stopped, undo)
        running = recording.open_recording(config, wish, wanted, target, undo)
        show = sys.stderr.isatty() and not as_json
        tick = _counter(running) if show else lambda: None
        try:
            running.run(bounds, lambda: bool(stopped), tick)
        except BrokenPipeError:
            running.ended_by = "the reader"
        finally:
            running.close()
    if show:
        print(file=sys.stderr)
    report = running.report()
    if as_json:
        print(json.dumps(report, indent=2), file=out)
    else:
        print(recording.render(report), end="", file=out)


def _on(number: signal.Signals, stopped: list[int], undo: ExitStack) -> None:
    def note(signum: int, _frame: FrameType | None) -> None:
        stopped.append(signum)

    before = signal.signal(number, note)
    undo.callback(signal.signal, number, before)


def _counter(running: Recording) -> Callable[[], None]:
    """Shows how it stands, now and then."""
    next_s = 0.0

    def tick() -> None:
        nonlocal next_s
        if monotonic() >= next_s:
            next_s = monotonic() + _REDRAW_S
            print(f"\r{running.line()}\x1b[K", end="", file=sys.stderr, flush=True)

    return tick
