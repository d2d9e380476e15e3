"""Everything that a diagnosis looks at, as values: whoever collects it may be on no host at all.

What nobody could look at is None, and `Case.unknown` says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from interceptor.capture.plan import Decision, Facts, Flow, Plan
from interceptor.capture.rule import Rule
from interceptor.config import Config
from interceptor.debug.finding import Step
from interceptor.errors import Problem
from interceptor.mesh.model import Address, Host, Locale, Port
from interceptor.mesh.outcome import Resolution
from interceptor.mesh.table import EMPTY, MeshTable


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants to call. ``name`` is empty for an address, ``text`` what was typed.

    ``speaks_http``: the caller will send an HTTP request. ``device``: the caller binds its
    socket to it (SO_BINDTODEVICE); ``device_of`` says who does, where that was seen.
    """

    text: str
    protocol: str  # "tcp" or "udp"
    port: int
    name: str = ""
    speaks_http: bool = False
    device: str = ""
    device_of: str = ""


@dataclass(frozen=True, slots=True)
class Running:
    """The daemon by its own status tree. ``told`` are the addresses that it answers for the
    host in question, None where it does not know that host or was not asked."""

    is_ready: bool
    why: str
    backend: str = ""
    hosts: int = 0
    held: bool = False
    good_age_s: float = 0.0
    recalled: bool = False
    rejected: tuple[str, ...] = ()
    sidecar: str = ""  # its state: live, down, hung, starting
    conflicts: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()  # what Envoy did not take, with its reason
    uplink: str = ""  # why Envoy's control plane is away
    drift: bool = False
    knows_host: bool | None = None
    told: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One rule or map entry of ours as it is installed. ``count``: packets or decisions so far,
    None where it counts none."""

    text: str
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Installed:
    """What decides on the flow, as found on the host. ``counter`` names what is counted."""

    backend: str
    entries: tuple[Entry, ...] = ()
    counter: str = ""

    @property
    def count(self) -> int | None:
        """Of all entries together."""
        counts = [entry.count for entry in self.entries if entry.count is not None]
        return sum(counts) if counts else None


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Somebody else's rule that packets meet before ours.

    ``matches``: whether it is for this flow; None where its conditions are not all understood.
    """

    where: str
    text: str
    verdict: str  # drop, reject, dnat, redirect, queue, jump, a program
    owner: str = ""
    matches: bool | None = None


@dataclass(frozen=True, slots=True)
class Upstream:
    """One endpoint as Envoy sees it. ``failed``: connections that could not be made."""

    address: str
    port: int
    weight: int = 1
    is_healthy: bool = True
    connections: int = 0
    failed: int = 0
    used: int = 0


@dataclass(frozen=True, slots=True)
class Envoy:
    """The sidecar from outside. ``answers``: its admin interface does.

    ``listener``: the name of the one for this address and port, empty where it has none,
    None where it was not asked; ``upstreams`` None where it does not have the cluster.
    ``cluster``: where somebody else configures it, the one that it has for the host and port.
    """

    listens: bool
    answers: bool = False
    state: str = ""
    listener: str | None = None
    upstreams: tuple[Upstream, ...] | None = None
    cluster: str = ""
    protocol_errors: int = 0
    log: str = ""


@dataclass(frozen=True, slots=True)
class Resolver:
    """How names are found on this host besides plain port 53.

    ``nss`` are the sources of `hosts:` in nsswitch.conf, ``dot_mode`` resolved's DNSOverTLS
    (empty: no resolved or not set), ``encrypted`` open connections to port 853, a line each.
    ``file`` are the addresses that /etc/hosts gives to the name.
    """

    nss: tuple[str, ...] = ()
    servers: tuple[Address, ...] = ()
    dot_mode: str = ""
    encrypted: tuple[str, ...] = ()
    file: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Queried:
    """What became of the probe's query. ``who`` is the server asked; ``answers`` are empty with
    an ``error`` (timeout, refused) or an rcode without data. ``outside``: what that server itself
    says, past us; None where that could not be asked."""

    who: str
    rcode: str = ""
    answers: tuple[str, ...] = ()
    took_ms: float = 0.0
    error: str = ""
    outside: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Connected:
    """What became of one connection of the probe's.

    ``result``: connected, refused, timeout, unreachable, denied, reset or closed (after it was
    connected). ``greeting``: what the server said before it was asked; ``reply`` the first line
    of what it said to an HTTP request.
    """

    to: str
    result: str
    peer: str = ""
    took_ms: float = 0.0
    greeting: str = ""
    reply: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """Everything that was tried. ``direct`` goes past the sidecar to endpoints.

    ``before`` and ``after`` are the counters of the rule that decides.
    """

    query: Queried | None = None
    connection: Connected | None = None
    direct: tuple[Connected, ...] = ()
    before: int | None = None
    after: int | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One call, and everything known about it.

    ``problems`` are the documents that are refused now; ``called`` the host and port that the
    destination belongs to. ``hidden``: namespaces that see the name, where this VM's does not;
    ``hidden_by``: the Sidecar that leaves it out, and what to do about that.
    ``dns_obstacles`` stand before ours in the way of its query; ``unrouted`` are addresses of
    endpoints to which this host has no route; ``confined`` is the cgroup outside of which the
    sidecar's user is like any other (ebpf). ``silent`` is the pid of a daemon that runs and does
    not answer, 0 for none.
    """

    config: Config
    asked: Asked
    locale: Locale = field(default_factory=Locale)
    table: MeshTable = EMPTY
    problems: tuple[Problem, ...] = ()
    found: Resolution | None = None
    hidden: tuple[str, ...] = ()
    hidden_by: tuple[str, str] | None = None
    facts: Facts = field(default_factory=Facts)
    plan: Plan = field(default_factory=Plan)
    flow: Flow | None = None
    decision: Decision | None = None
    rule: Rule | None = None
    rule_text: tuple[str, ...] = ()
    called: tuple[Host, Port | None] | None = None
    running: Running | None = None
    installed: Installed | None = None
    obstacles: tuple[Obstacle, ...] = ()
    dns_obstacles: tuple[Obstacle, ...] = ()
    envoy: Envoy | None = None
    resolver: Resolver | None = None
    unrouted: frozenset[Address] = frozenset()
    probe: Probe | None = None
    confined: str = ""
    silent: int = 0
    unknown: Mapping[Step, str] = field(default_factory=dict)
