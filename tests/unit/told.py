"""A daemon that runs nothing, for whoever tells of one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from time import monotonic

from interceptor.capture import joined
from interceptor.capture.backend import Choice
from interceptor.capture.guard import Guard
from interceptor.capture.journal import Journal
from interceptor.config import Config
from interceptor.debug.trace import Hub
from interceptor.dns.plane import Plane
from interceptor.errors import Problem
from interceptor.host.lifeline import Lifeline
from interceptor.membership import Membership
from interceptor.mesh.table import EMPTY, MeshTable
from interceptor.reload import Reload
from interceptor.sidecar.managed import Managed
from interceptor.source.event import Standing

CHOICE = Choice("nftables", "nftables", why=("backend: nftables [asked-for]",))


@dataclass
class Told:
    """A daemon that has no worker and no sidecar."""

    config: Config = field(default_factory=Config)
    choice: Choice = CHOICE
    guard: Guard = field(default_factory=lambda: Guard(joined.build(CHOICE, Journal())))
    plane: Plane | None = None
    sidecar: Managed | None = None
    membership: Membership = field(default_factory=lambda: Membership(Config(), lambda: None))
    hub: Hub = field(default_factory=lambda: Hub([]))
    table: MeshTable = EMPTY
    has_table: bool = False
    is_started: bool = False
    problems: tuple[Problem, ...] = ()
    rejected: int = 0
    began_s: float = 0.0
    loaded_s: float = 0.0
    load_s: float = 0.0
    standing: Standing = field(default_factory=Standing)
    told_s: float = field(default_factory=monotonic)
    confirmed: asyncio.Event = field(default_factory=asyncio.Event)
    lifeline: Lifeline = field(default_factory=Lifeline)
    reload: Reload = field(default_factory=lambda: Reload(Config(), asyncio.Event(), bool))
