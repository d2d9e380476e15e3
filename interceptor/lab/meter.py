"""Measuring: alternating rounds of variants, ratios with their spread, CPU time by cgroup."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from interceptor.host import command
from interceptor.lab.removal import LabFailed, wait_until
from interceptor.lab.world import Lab

LOAD_SOURCE = Path(__file__).with_name("load.c")

Figures = Mapping[str, float]
"""What one round of one variant measured, by the figure's name."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to do the job. ``measure`` runs one round of it."""

    name: str
    measure: Callable[[], Figures]


@dataclass(frozen=True, slots=True)
class Ratio:
    """How ``ours`` compares with ``theirs`` in ``figure``; ``target`` as design §12 has it."""

    figure: str
    ours: str
    theirs: str
    target: str = ""


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with the least and the greatest."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.median:.3g} [{self.least:.3g}..{self.most:.3g}]"


Rounds = Mapping[str, Sequence[Figures]]
"""For each variant the figures of its rounds, in order."""


def alternate(variants: Sequence[Variant], rounds: int, say: Callable[[str], None]) -> Rounds:
    """Every variant once a round, each round beginning with another, after one round unmeasured.

    What drifts on the machine then hits all variants alike.
    """
    results: dict[str, list[Figures]] = {variant.name: [] for variant in variants}
    for number in range(rounds + 1):
        shift = number % len(variants)
        for variant in (*variants[shift:], *variants[:shift]):
            say(f"round {number} of {rounds}: {variant.name}")
            figures = variant.measure()
            if number:
                results[variant.name].append(figures)
    return results


def spread(values: Sequence[float]) -> Spread:
    """Median, least and greatest of at least one value."""
    return Spread(statistics.median(values), min(values), max(values))


def summarise(rounds: Rounds, variant: str, figure: str) -> Spread:
    """One figure of one variant over its rounds."""
    return spread([figures[figure] for figures in rounds[variant]])


def compare(rounds: Rounds, ratio: Ratio) -> Spread:
    """The ratio within each round, over the rounds."""
    pairs = zip(rounds[ratio.ours], rounds[ratio.theirs], strict=True)
    return spread([a[ratio.figure] / max(b[ratio.figure], 1e-9) for a, b in pairs])


def observe_machine() -> str:
    """The machine that the figures are from, in a line."""
    model = "unknown CPU"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} x {model}, Linux {platform.release()}, "
        f"Python {platform.python_version()}, load {load:.2f} before"
    )


def build_load(folder: Path) -> str:
    """The load generator, compiled from its source. Raises CommandFailed without a compiler."""
    binary = folder / "load"
    command.run(["cc", "-O2", "-Wall", "-o", str(binary), str(LOAD_SOURCE)], timeout_s=60)
    return str(binary)


def decode_load(line: str) -> dict[str, float]:
    """The line that a client of the load generator prints."""
    return {key: float(value) for key, _, value in (word.partition("=") for word in line.split())}


@contextmanager
def groups(names: Sequence[str]) -> Iterator[Mapping[str, Path]]:
    """Child cgroups of our own, one a name, emptied by whoever filled them, and removed.

    cgroup2 counts CPU time in every group, whichever controllers are enabled.
    Raises LabFailed where no cgroup2 is mounted.
    """
    top = _unified() / f"interceptor-bench-{os.getpid()}"
    made = {name: top / name for name in names}
    try:
        for folder in made.values():
            folder.mkdir(parents=True, exist_ok=True)
        yield made
    finally:
        for folder in (*made.values(), top):
            with suppress(LabFailed):
                wait_until(lambda folder=folder: _remove(folder), f"end of {folder}", 5)  # type: ignore[misc]


def _remove(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _unified() -> Path:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(place)
    raise LabFailed("CPU time is counted by cgroup2, and none is mounted")


def in_group(group: Path, argv: Sequence[str]) -> list[str]:
    """``argv`` as it runs in ``group``: it joins before it becomes the program."""
    return ["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', str(group), *argv]


def cpu_us(*folders: Path) -> int:
    """CPU time that the groups have used. Unit: microseconds."""
    total = 0
    for folder in folders:
        for line in (folder / "cpu.stat").read_text().splitlines():
            key, _, value = line.partition(" ")
            if key == "usage_usec":
                total += int(value)
    return total


def measure_load(
    lab: Lab, host: str, load: str, words: Sequence[str], client: Path, servers: Sequence[Path]
) -> dict[str, float]:
    """One run of the load generator on ``host``, and what it cost in CPU time.

    ``cpu_us`` is of client and servers together, for each piece of work that
    went well. Raises LabFailed when more than one in a hundred did not.
    """
    before = cpu_us(client, *servers)
    done = command.run(in_group(client, lab.argv(host, [load, *words])), timeout_s=300)
    spent = cpu_us(client, *servers) - before
    got = decode_load(done.stdout)
    if got["bad"] > 0.01 * (got["ok"] + got["bad"]):
        raise LabFailed(
            f"{' '.join(words)} on {host}: {got['bad']:.0f} of {got['ok']:.0f} went bad"
        )
    return {
        "p50_us": got["p50_us"],
        "per_s": got["ok"] / got["seconds"],
        "cpu_us": spent / max(got["ok"], 1),
    }


def adopt(group: Path, lab: Lab, host: str) -> None:
    """Move every process that runs on ``host`` now into ``group``."""
    for pid in lab.pids(host):
        with suppress(ProcessLookupError):
            (group / "cgroup.procs").write_text(str(pid))
