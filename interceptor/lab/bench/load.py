"""The load generator: built from its C, run on a lab's host, CPU time counted by cgroup."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from interceptor.host import command
from interceptor.lab import removal
from interceptor.lab.removal import LabFailed
from interceptor.lab.world import Lab

SOURCES = Path(__file__).parent
TIMEOUT_S = 300


def build(folder: Path) -> str:
    """Compile it. Returns its path. Raises CommandFailed without a compiler."""
    binary = folder / "load"
    sources = [str(path) for path in sorted(SOURCES.glob("*.c"))]
    command.run(["cc", "-O2", "-Wall", "-o", str(binary), *sources], timeout_s=60)
    return str(binary)


def decode(line: str) -> dict[str, float]:
    """The line that a client of the load generator prints."""
    return {key: float(value) for key, _, value in (word.partition("=") for word in line.split())}


def argv(lab: Lab, program: str, words: Sequence[object], hosts: Sequence[str]) -> list[str]:
    """The load generator with ``words``; it counts the CPU time of everything on ``hosts``.

    A host's cgroup holds client, agent, sidecar and server of that host. What the kernel
    does for a packet counts for whoever sent it, on loopback and veth alike.
    """
    files = (str(removal.cgroup(lab.token, host) / "cpu.stat") for host in hosts)
    return ["env", f"CPU_STAT={':'.join(files)}", program, *(str(word) for word in words)]


def measure(
    lab: Lab, host: str, program: str, words: Sequence[object], others: Sequence[str] = ()
) -> dict[str, float]:
    """One run of a client on ``host``: p50_us, p99_us, per_s, and cpu_us for each piece of work,
    of everything on ``host`` and ``others``. Raises LabFailed when more than one in a hundred
    went bad.
    """
    line = argv(lab, program, words, (host, *others))
    got = decode(lab.run(host, line, timeout_s=TIMEOUT_S).stdout)
    if got["ok"] == 0 or got["bad"] > 0.01 * (got["ok"] + got["bad"]):
        what = " ".join(str(word) for word in words)
        raise LabFailed(f"{what} on {host}: {got['ok']:.0f} went well, {got['bad']:.0f} did not")
    return {
        "p50_us": got["p50_us"],
        "p99_us": got["p99_us"],
        "per_s": got["ok"] / got["seconds"],
        "cpu_us": got["cpu_us"] / got["ok"],
    }
