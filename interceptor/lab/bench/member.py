"""An agent on a host of a benchmark's lab, by a back end that is surely the one asked for."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address
from pathlib import Path

from interceptor.lab import agent, description
from interceptor.lab.agent import Agent
from interceptor.lab.bench.part import Session
from interceptor.lab.removal import LabFailed
from interceptor.lab.world import Lab

HOST_CANNOT = 3  # exit code of a daemon whose back end this host does not support
START_S = 120
NO_SIDECAR: Mapping[str, object] = {"sidecar": {"mode": "none"}}


def start(session: Session, one: Agent, backend: str) -> bool:
    """Start the agent by that back end and wait until it is ready, as `settle` tells."""
    one.launch("--backend", backend)
    return settle(session, one, backend)


def settle(session: Session, one: Agent, backend: str) -> bool:
    """Wait until a launched agent is ready. Returns False, and notes why, where this host has no
    such back end. Raises LabFailed when it did not come up, or came up with another one."""
    try:
        one.wait_ready(START_S)
    except LabFailed:
        if one.process is None or one.process.poll() != HOST_CANNOT:
            raise
        session.notes.append(f"{backend} on {one.host}: {last_line(one.log())}")
        session.say(session.notes[-1])
        return False
    if (found := one.read("status").get("backend")) != backend:
        raise LabFailed(f"asked for {backend}, the agent on {one.host} took {found}")
    return True


def last_line(log: str) -> str:
    """What a log ended with."""
    return (log.strip().splitlines() or ["no log"])[-1]


def render_nametable(hosts: Iterable[tuple[str, IPv4Address]]) -> str:
    """A name-table file of these hosts."""
    table = {name: {"ips": [str(address)], "registry": "External"} for name, address in hosts}
    return json.dumps({"table": table})


def replace(file: Path, text: str) -> float:
    """Renamed into place, as a careful writer does it; never seen half-written. Returns the
    monotonic time of the renaming, s: taken before it, for its reader may be faster than we."""
    part = file.with_name(f".{file.name}.part")
    part.write_text(text)
    since = time.monotonic()
    part.rename(file)
    return since


def with_names(
    lab: Lab, host: str, text: str, over: Mapping[str, object] = NO_SIDECAR
) -> tuple[Agent, Path]:
    """The agent of ``host``, not started, whose mesh is a name-table file of that text."""
    file = lab.host_folder(host) / "nametable.json"
    replace(file, text)
    source: Mapping[str, object] = {"mesh": {"source": "nametable", "nametable": str(file)}}
    return agent.prepare(lab, host, description.merge(over, source)), file
