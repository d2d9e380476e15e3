"""The capture plan: what to intercept, as ordered rules that are data.

`build` derives the plan from the configuration, the host's facts and the mesh's
addresses. The same `Rule` values are interpreted by ``scope.decide`` for one
flow and rendered by each back end, so that there is one semantics (design §5).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import ip_network

from interceptor.capture import order, span
from interceptor.capture.rule import DestinationSet, Hook, Network, Rule, SetName, Verdict
from interceptor.capture.span import Place
from interceptor.config import Config
from interceptor.host.probe import Device
from interceptor.mesh.model import Address

__all__ = [
    "Decision",
    "Device",
    "Facts",
    "Flow",
    "Hook",
    "Place",
    "Plan",
    "Plane",
    "Route",
    "Verdict",
    "build",
]


OUTBOUND = SetName.OUTBOUND


class Plane(enum.Enum):
    """The part of a back end that does one thing."""

    DNS = "dns"
    TCP = "tcp"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a plan has to know of the host. Probed by ``host``; tests make it up.

    ``own_addresses``: every address of a non-loopback interface. ``servers``:
    resolv.conf's. ``has_ipv6``: whether the host has IPv6 at all.
    ``route_source4/6``: the address that this VM uses towards others, None
    without one. ``routed4/6``: whether a route (not ours) covers the VIP range.
    ``cgroups``: the configured cgroups that exist now, each with its id, which
    changes when a unit is restarted. ``cgroup_mount``: where cgroup2 is mounted.
    ``devices``: the links on which DNS may leave, and ``netns_cookie`` the
    kernel's own number of this network namespace (0: it tells none).
    """

    own_addresses: tuple[Address, ...] = ()
    servers: tuple[Address, ...] = ()
    has_ipv6: bool = True
    route_source4: Address | None = None
    route_source6: Address | None = None
    routed4: bool = True
    routed6: bool = True
    cgroups: tuple[tuple[str, int], ...] = ()
    cgroup_mount: str = "/sys/fs/cgroup"
    devices: tuple[Device, ...] = ()
    netns_cookie: int = 0


@dataclass(frozen=True, slots=True)
class Flow:
    """The first packet of one flow. ``interface`` is where it leaves (OUTPUT) or
    arrives (PREROUTING); ``uid``, ``gid``, ``cgroup`` are its socket's, None where
    it has none (PREROUTING)."""

    hook: Hook
    protocol: str  # "tcp" or "udp"
    source: Address
    destination: Address
    port: int
    interface: str = "eth0"
    uid: int | None = None
    gid: int | None = None
    cgroup: str = ""
    mark: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """``rule`` is the number in design §5 (1 to 9); ``why`` is a sentence for people."""

    verdict: Verdict
    rule: int
    why: str


@dataclass(frozen=True, slots=True)
class Route:
    """A route of ours. ``kind`` is unicast or local; always over lo, protocol number 157."""

    destination: Network
    kind: str
    why: str
    source: Address | None = None
    table: int = 0  # 0: where the kind belongs


@dataclass(frozen=True, slots=True)
class Steering:
    """The numbers by which a verdict becomes an effect.

    ``lease_s``, ``release`` (on_agent_loss) and ``bypass`` (on_sidecar_loss) are
    for rules that can see by themselves who is away; others leave it to the daemon.
    """

    outbound_port: int = 15001
    inbound_port: int = 15006
    dns_port: int = 15053
    queue: int = 15053
    mark: int = 0x1DC0
    tproxy: bool = False
    route_table: int = 15006
    lease_s: int = 10
    release: bool = False
    bypass: bool = False

    @property
    def dns_mark(self) -> int:
        """Of a TCP/53 SYN that the DNS worker has seen."""
        return self.mark + 1

    @property
    def tproxy_mark(self) -> int:
        return self.mark + order.TPROXY_MARK_OFFSET


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a back end installs.

    ``fixed`` are the networks captured whatever the mesh says, ``places`` the
    mesh's own besides. ``shape`` are the rules by which a back end lays out its
    chains; it outlives them in a `released` plan, so that no chain under open
    connections is removed. ``sources`` are the addresses that this VM uses
    towards others, one a family at most.
    """

    rules: tuple[Rule, ...] = ()
    families: tuple[int, ...] = (4, 6)
    steering: Steering = Steering()
    fixed: tuple[Network, ...] = ()
    places: tuple[Network, ...] = ()
    servers: tuple[Network, ...] = ()
    routes: tuple[Route, ...] = ()
    own_addresses: tuple[Address, ...] = ()
    cgroups: tuple[tuple[str, int], ...] = ()
    cgroup_mount: str = "/sys/fs/cgroup"
    shape: tuple[Rule, ...] = ()
    sources: tuple[Address, ...] = ()
    devices: tuple[Device, ...] = ()
    netns_cookie: int = 0

    @property
    def planes(self) -> frozenset[Plane]:
        verdicts = {rule.verdict for rule in self.shape}
        dns = {Plane.DNS} if Verdict.DNS in verdicts else set()
        tcp = {Plane.TCP} if verdicts & {Verdict.OUTBOUND, Verdict.INBOUND} else set()
        return frozenset(dns | tcp)

    def networks(self, name: SetName, version: int) -> tuple[Network, ...]:
        """The elements of a named set in one family; none overlaps another."""
        every = self.servers if name is SetName.DNS else self.fixed + self.places
        return tuple(network for network in every if network.version == version)

    def exchange(self, places: Iterable[Place]) -> Plan:
        """The same plan with the mesh's addresses (and CIDRs) exchanged."""
        return replace(self, places=span.uncovered(self.fixed, places, self.families))

    def released(self) -> Plan:
        """The same chains and routes, capturing nothing new, so that what is open goes on.

        The redirect rules with their emptied sets stay: a kernel without any of
        them stops tracking connections, and those redirected before would hang.
        """
        rules = tuple(rule for rule in self.rules if DestinationSet(OUTBOUND) in rule.conditions)
        return replace(self, rules=rules, fixed=(), places=(), servers=())

    def only(self, plane: Plane) -> Plan:
        """What the back end of one plane installs where the planes have one each."""
        if plane is Plane.DNS:
            rules = _leading(self.rules)
            bare = replace(self, rules=rules, shape=_leading(self.shape))
            return replace(bare, fixed=(), places=(), routes=())
        rules = tuple(_foreign_dns(rule) for rule in self.rules)
        return replace(self, rules=rules, shape=tuple(_foreign_dns(rule) for rule in self.shape))


def _leading(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """The rules that decide on DNS: nothing after rule 5 does, nor does the way to oneself."""
    wanted = (Verdict.PASS, Verdict.DNS)
    kept = tuple(rule for rule in rules if rule.number <= 5 and rule.verdict in wanted)
    return kept if any(rule.verdict is Verdict.DNS for rule in kept) else ()


def _foreign_dns(rule: Rule) -> Rule:
    if rule.verdict is not Verdict.DNS:
        return rule
    return replace(rule, verdict=Verdict.PASS, why=f"{rule.why}: another back end's")


def build(config: Config, facts: Facts, addresses: Iterable[Place] = ()) -> Plan:
    """What this configuration captures on this host, with the mesh's addresses as they are."""
    capture, sidecar = config.capture, config.sidecar
    wants_ipv6 = facts.has_ipv6 if capture.ipv6 is None else capture.ipv6
    families = (4, 6) if wants_ipv6 else (4,)
    tcp = capture.enabled and sidecar.mode != "none"
    rules = order.rules(config, dns=config.dns.enabled, tcp=tcp)
    steering = Steering(
        outbound_port=sidecar.outbound_port,
        inbound_port=sidecar.inbound_port,
        dns_port=config.dns.tcp_port,
        queue=config.dns.queue,
        mark=capture.mark,
        tproxy=capture.inbound.mode == "tproxy",
        route_table=capture.route_table,
        lease_s=config.agent.lease_s,
        release=config.agent.on_agent_loss == "release",
        bypass=config.agent.on_sidecar_loss == "bypass",
    )
    sources = (facts.route_source4, facts.route_source6)
    plan = Plan(
        rules=rules,
        families=families,
        steering=steering,
        fixed=_fixed(config, families) if tcp else (),
        servers=_servers(config, facts, families),
        routes=_routes(config, facts, families) if tcp else (),
        own_addresses=facts.own_addresses,
        cgroups=facts.cgroups,
        cgroup_mount=facts.cgroup_mount,
        shape=rules,
        sources=tuple(a for a in sources if a is not None and a.version in families),
        devices=facts.devices,
        netns_cookie=facts.netns_cookie,
    )
    return plan.exchange(addresses) if tcp else plan


def _fixed(config: Config, families: tuple[int, ...]) -> tuple[Network, ...]:
    """The included CIDRs and the VIP ranges; "*" is the two halves of everything."""
    ranges, cidrs = config.mesh.vip_ranges, config.capture.outbound.cidrs
    everything = tuple(span.EVERYTHING[version] for version in families)
    wanted = (ranges.ipv4, ranges.ipv6, *(everything if cidrs == "*" else cidrs))
    merged = span.collapse(network for network in wanted if network.version in families)
    return tuple(half for network in merged for half in span.halves(network))


def _servers(config: Config, facts: Facts, families: tuple[int, ...]) -> tuple[Network, ...]:
    servers = config.dns.servers
    if servers == "all" or not config.dns.enabled:
        return ()
    named = facts.servers if servers == "resolv.conf" else servers
    return span.collapse(ip_network(server) for server in named if server.version in families)


def _routes(config: Config, facts: Facts, families: tuple[int, ...]) -> tuple[Route, ...]:
    """Rules are met after routing: without a route to a VIP, connect() fails before them."""
    ranges = config.mesh.vip_ranges
    why = "a VIP has no route here, and connect() asks for one before any rule"
    found: list[Route] = []
    if not facts.routed4 and facts.route_source4 is not None:
        found.append(Route(ranges.ipv4, "unicast", why, facts.route_source4))
    if not facts.routed6 and facts.route_source6 is not None:
        found.append(Route(ranges.ipv6, "unicast", why, facts.route_source6))
    why = "Envoy's passthrough binds to ::6, which is no address of any interface"
    found.append(Route(order.PASSTHROUGH[1], "local", why))
    if config.capture.inbound.mode == "tproxy" and config.capture.inbound.ports:
        why = "TPROXY: what bears its mark is delivered here"
        table = config.capture.route_table
        for everything in (ip_network("0.0.0.0/0"), ip_network("::/0")):
            found.append(Route(everything, "local", why, table=table))
    return tuple(route for route in found if route.destination.version in families)
