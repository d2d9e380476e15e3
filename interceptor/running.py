"""What is read of a running daemon, for its status and for its figures."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Protocol

from interceptor.capture.backend import Choice
from interceptor.capture.guard import Guard
from interceptor.config import Config
from interceptor.debug.trace import Hub
from interceptor.dns.plane import Plane
from interceptor.errors import Problem
from interceptor.host.lifeline import Lifeline
from interceptor.membership import Membership
from interceptor.mesh.table import MeshTable
from interceptor.reload import Reload
from interceptor.sidecar.managed import Managed
from interceptor.sidecar.pid import is_listening
from interceptor.sidecar.process import State
from interceptor.source.event import Standing


class Running(Protocol):
    """The parts of a daemon that are told of. ``*_s`` are seconds, times by `monotonic`."""

    config: Config
    choice: Choice
    guard: Guard
    plane: Plane | None
    sidecar: Managed | None
    membership: Membership
    hub: Hub
    table: MeshTable
    has_table: bool
    is_started: bool
    problems: tuple[Problem, ...]
    rejected: int
    began_s: float
    loaded_s: float
    load_s: float
    standing: Standing
    told_s: float
    confirmed: asyncio.Event
    lifeline: Lifeline
    reload: Reload


def ready(daemon: Running) -> tuple[bool, str]:
    """Whether rules and table are in, and what is missing."""
    missing = []
    if daemon.guard.plan is None:
        missing.append("rules are not installed")
    elif not daemon.is_started:
        missing.append("the start is not over")
    if not daemon.has_table:
        missing.append("no table has been loaded")
    if daemon.plane is not None and not daemon.plane.is_alive:
        missing.append("the DNS worker is away")
    if daemon.sidecar is not None and daemon.sidecar.process.state is not State.LIVE:
        missing.append(f"the sidecar is {daemon.sidecar.process.state.value}")
    elif daemon.sidecar is not None:
        missing += unbound(daemon.config)
    return not missing, "; ".join(missing) or "ready"


def unbound(config: Config) -> list[str]:
    """Ports that captured connections go to and that a control plane gave Envoy no listener for:
    its mesh has others, or Envoy refused them."""
    if config.mesh.source != "istiod" or not config.capture.enabled:
        return []
    ports = [config.sidecar.outbound_port]
    ports += [config.sidecar.inbound_port] if config.capture.inbound.ports else []
    return [
        f"Envoy has no listener at port {port}: see what it refuses, and istiod's mesh config"
        for port in ports
        if not is_listening(port)
    ]


def good_age_s(daemon: Running) -> float:
    """Since when the source contradicts the table in force, or is silent; 0: it does not."""
    standing = daemon.standing
    return standing.age_s + monotonic() - daemon.told_s if standing.held else 0.0


def has_programs(daemon: Running) -> bool:
    """Whether one of the planes is the ebpf back end's."""
    return "ebpf" in (daemon.choice.tcp, daemon.choice.dns)
