"""Restart, upgrade and kill -9 of the agent under load, every single answer verified."""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

from interceptor.host import command
from interceptor.lab import description
from interceptor.lab.agent import Agent
from interceptor.lab.bench import dns, load, member, peer
from interceptor.lab.bench.meter import Figures, Rounds, Row, at_most
from interceptor.lab.bench.part import Part, Session
from interceptor.lab.description import Host, World
from interceptor.lab.removal import LabFailed
from interceptor.lab.world import PACKAGE_ROOT, Lab

UPSTREAM = IPv4Address("10.77.0.53")
NAMES = 1000
RATE = 20_000
MAXIMUM_S = 300
CALM_S = 0.5
"""Before the first and after the last of what is done to the agent."""

KEEP: Mapping[str, object] = {"agent": {"on_exit": "keep"}}
"""An end that is followed by a start takes nothing back."""

FIGURES = {
    "queries": "queries sent",
    "wrong": "answers that were not the name's",
    "missed": "queries that passed to the upstream, which does not know the name",
    "lost": "queries without any answer",
    "gap_ms": "longest time without a right answer",
}


def world() -> World:
    """A VM, and an upstream that knows no name of the mesh."""
    hosts = (
        Host("vm", description.pair(10), namespace="bench"),
        Host("nsd", description.pair(53)),
    )
    return World(description.pair(1), hosts, (UPSTREAM,))


def copy_upgraded(folder: Path) -> Path:
    """A copy of this checkout with another layout of the maps: what an upgrade brings.

    Its programs are compiled there, so that starting it takes no longer than starting ours.
    Raises CommandFailed without a compiler, OSError where this is no checkout.
    """
    for name in ("interceptor", "bpf"):
        hidden = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PACKAGE_ROOT / name, folder / name, ignore=hidden)
    for file in (folder / "interceptor/host/layout.py", folder / "bpf/include/layout.h"):
        file.write_text(raise_layout(file.read_text()))
    code = folder / "interceptor" / "host" / "bytecode.json"
    code.unlink(missing_ok=True)
    # -P: the folder that we run in may be a checkout, too, and would come first.
    argv = [sys.executable, "-P", "-m", "interceptor.host.compiler", str(code)]
    command.run(["env", f"PYTHONPATH={folder}", *argv], timeout_s=120)
    return folder


def raise_layout(text: str) -> str:
    """Source of the layout, in Python or C, with the next number. Raises LabFailed."""
    found, count = re.subn(
        r"^(LAYOUT = |#define LAYOUT )(\d+)", lambda m: f"{m[1]}{int(m[2]) + 1}", text, flags=re.M
    )
    if count != 1:
        raise LabFailed("the layout's number does not stand where it should")
    return found


def restart(one: Agent, upgraded: Path) -> None:
    """As `systemctl restart` does it."""
    one.stop()
    one.start(timeout_s=60)


def kill(one: Agent, upgraded: Path) -> None:
    """As the OOM killer does it, and systemd a moment later."""
    one.kill()
    time.sleep(CALM_S)
    one.start(timeout_s=60)


def upgrade(one: Agent, upgraded: Path) -> None:
    """The other version after this one, and this one after that."""
    one.stop()
    argv = ["env", f"PYTHONPATH={upgraded}", *one.argv("run")]
    one.process = one.lab.start(one.host, argv, "agent", detached=True)
    one.wait_ready(60)
    restart(one, upgraded)


ACTIONS: Mapping[str, Callable[[Agent, Path], None]] = {
    "restart": restart,
    "upgrade": upgrade,
    "kill -9": kill,
}


def measure(session: Session, one: Agent, action: Callable[[], None]) -> Figures:
    """The action as often as wanted, under load that goes on until it is over."""
    lab = one.lab
    stop = lab.host_folder("vm") / "stop"
    stop.unlink(missing_ok=True)
    count = session.amount.restarts
    words = ("paced", UPSTREAM, peer.PATTERN, NAMES, RATE, MAXIMUM_S, peer.FIRST, "-", stop)
    process = lab.start("vm", load.argv(lab, session.load, words, ("vm",)), "load")
    try:
        time.sleep(CALM_S)
        for _ in range(count):
            action()
        time.sleep(CALM_S)
        stop.touch()
        if process.wait(10) != 0:
            raise LabFailed(lab.log("vm", "load"))
    finally:
        process.stop()
    return summarise(lab.log("vm", "load"))


def summarise(log: str) -> dict[str, float]:
    """The last line that the paced client has printed."""
    got = load.decode(log.splitlines()[-1])
    return {
        "queries": got["ok"] + got["bad"],
        **{key: got[key] for key in ("wrong", "missed", "lost", "gap_ms")},
    }


def run(session: Session) -> Rounds:
    """Every action by every back end, each in a lab of its own."""
    upgraded = copy_upgraded(session.folder / "upgraded")
    found: dict[str, list[Figures]] = {}
    for backend in session.backends:
        for title, action in ACTIONS.items():
            with Lab.open(world()) as lab:
                dns.start_peer(lab, "nsd", "nsd", (UPSTREAM, 53), 0)
                dns.await_answer(lab, "vm", UPSTREAM, peer.OTHER, peer.OTHER_ADDRESS)
                one, _ = member.with_names(
                    lab,
                    "vm",
                    member.render_nametable(peer.names(NAMES)),
                    {**member.NO_SIDECAR, "capture": {"backend": backend}, **KEEP},
                )
                if not member.start(session, one, backend):
                    break
                session.say(f"{backend}: {title}")
                act = partial(action, one, upgraded)
                found[f"{backend}, {title}"] = [measure(session, one, act)]
                one.stop()
    return found


def build_rows() -> tuple[Row, ...]:
    """Design §12; netfilter's NFQUEUE passes queries on while nobody listens to it."""
    return tuple(
        Row(f"{title} under {RATE:,} queries/s: {figure}", figure, f"ebpf, {title}", "", at_most(0))
        for title in ACTIONS
        for figure in ("wrong", "missed", "lost")
    )


ABOUT = f"""\
{RATE:,} queries a second for {NAMES:,} names, each answer checked against the very name's address,
while the agent is restarted, replaced by a version with another layout of its maps and back, or
killed with SIGKILL and started half a second later, five times each (`agent.on_exit: keep`). The
upstream does not know the names.
"""

PARTS = (
    Part("life", "The agent's comings and goings under load", ABOUT, run, build_rows(), FIGURES),
)
