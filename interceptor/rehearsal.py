"""A capture run through table and plan, offline and without root: what `replay` puts together.

The decisions are the daemon's own: `scope` over the built plan for flows, and for queries the
very code of the DNS worker, which gets the packets as a queue would hand them over.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path

from interceptor import assembly
from interceptor.capture import fact, order, plan
from interceptor.capture.factfile import Saved
from interceptor.capture.plan import Decision, Facts, Flow, Hook
from interceptor.capture.rule import Verdict
from interceptor.capture.scope import Scope
from interceptor.config import Config
from interceptor.debug import explain, vantage
from interceptor.debug.attempt import Attempt, Sender
from interceptor.debug.replay import Fate
from interceptor.debug.vantage import Vantage
from interceptor.errors import Unsupported
from interceptor.host import resolver
from interceptor.mesh.model import Address, Host
from interceptor.mesh.table import MeshTable
from interceptor.ruling import Ruling


def observe(config: Config) -> Saved:
    """The facts of this host, for a replay here. Reads only, without root."""
    return Saved(fact.facts(config), resolver.observe_search(config.dns.resolv_conf))


def probe(config: Config) -> Saved:
    """`observe`, and which back end the kernel takes, for a replay elsewhere. As root it is
    tried, which takes a second or two."""
    try:
        return replace(observe(config), dns_backend=assembly.choose(config).dns)
    except Unsupported:
        return observe(config)


def settle(config: Config, saved: Saved) -> Config:
    """The configuration with what it would ask the host about written into it."""
    change: dict[str, object] = {}
    if config.dns.search is None:
        change["search"] = saved.search
    if saved.dns_backend and config.dns.backend == config.capture.backend == "auto":
        change["backend"] = saved.dns_backend
    return config.model_copy(update={"dns": config.dns.model_copy(update=change)})


def with_mesh(config: Config, files: tuple[Path, ...], nametable: Path | None) -> Config:
    """The same configuration with another mesh, where one is given."""
    change: dict[str, object] = {}
    if files:
        change = {"source": "files", "files": files}
    if nametable is not None:
        change = {"source": "nametable", "nametable": nametable}
    return config.model_copy(update={"mesh": config.mesh.model_copy(update=change)})


@dataclass(frozen=True, slots=True)
class Owner:
    """Who sent what leaves, as far as the packets do not tell. None: somebody whom no rule
    names. ``cgroup`` is a path below the mount."""

    uid: int | None = None
    gid: int | None = None
    cgroup: str = ""


ANYBODY: dict[int, Address] = {4: ip_address("0.0.0.0"), 6: ip_address("::")}
"""Stands for every source but Envoy's own: rules ask for no other, and kept decisions are fewer."""
TOLD = frozenset(network.network_address for network in order.PASSTHROUGH)


class Called:
    """The mesh's hosts by the addresses that they are called by, or arrived at."""

    def __init__(self, hosts: Iterable[Host]) -> None:
        self._addresses: dict[Address, list[Host]] = defaultdict(list)
        self._endpoints: dict[Address, list[Host]] = defaultdict(list)
        self._networks: list[Host] = []
        self._order: dict[str, int] = {}
        for number, host in enumerate(hosts):
            self._order[host.name] = number
            for address in host.addresses:
                self._addresses[address].append(host)
            for endpoint in host.endpoints:
                if not isinstance(endpoint.address, str):
                    self._endpoints[endpoint.address].append(host)
            if host.networks:
                self._networks.append(host)
        self.packed = vantage.pack(self._addresses)

    def near(self, flow: Flow) -> Sequence[Host]:
        """Every host that `explain.find` could find for the flow, in the table's order."""
        if flow.hook is Hook.PREROUTING:
            return self._endpoints.get(flow.destination, ())
        found = self._addresses.get(flow.destination, [])
        if not self._networks:
            return found
        both = {host.name: host for host in (*found, *self._networks)}
        return sorted(both.values(), key=lambda host: self._order[host.name])


class Rehearsal:
    """One configuration on one host with its mesh; a `Judge`. Decisions are kept: captures
    repeat themselves."""

    def __init__(self, config: Config, saved: Saved, owner: Owner, table: MeshTable) -> None:
        self.config = settle(config, saved)
        built = plan.build(self.config, saved.facts, assembly.places(table))
        self._scope = Scope(built)
        self._steering = built.steering
        self._owner = owner
        self._ruling = Ruling(self.config, assembly.answers(self.config, table))
        self.called = Called(table.hosts.values())
        self._decisions: dict[Flow, Decision] = {}
        self._fates: dict[Flow, Fate] = {}

    def query(self, attempt: Attempt) -> Fate:
        return self._ruling.decide(attempt, self._decide(self._flow(attempt)))

    def connection(self, attempt: Attempt) -> Fate:
        flow = self._flow(attempt)
        fate = self._fates.get(flow)
        if fate is None:
            fate = self._fates[flow] = self._fate(flow)
        return fate

    def _fate(self, flow: Flow) -> Fate:
        decision = self._decide(flow)
        told = explain.explain(
            flow,
            decision,
            explain.find(self.called.near(flow), flow),
            steering=self._steering,
            unknown=self.config.sidecar.unknown_destinations,
        )
        why = told.why
        if flow.protocol == "udp" and decision.verdict is Verdict.PASS:
            why = f"{why}: UDP other than DNS is not captured"
        return Fate(
            verdict=told.verdict,
            rule=told.rule,
            why=why,
            to=told.to,
            host=told.host,
            cluster=told.cluster,
            endpoints=told.endpoints,
        )

    def _decide(self, flow: Flow) -> Decision:
        decision = self._decisions.get(flow)
        if decision is None:
            decision = self._decisions[flow] = self._scope.decide(flow)
        return decision

    def _flow(self, attempt: Attempt) -> Flow:
        """The attempt as rules meet it."""
        leaves, version = attempt.hook is Hook.OUTPUT, attempt.destination.version
        owner = self._owner_of(attempt.sender) if leaves else Owner()
        return Flow(
            hook=attempt.hook,
            protocol=attempt.protocol,
            source=attempt.source if attempt.source in TOLD else ANYBODY[version],
            destination=attempt.destination,
            port=attempt.port,
            interface=attempt.interface,
            uid=owner.uid,
            gid=owner.gid,
            cgroup=owner.cgroup,
            mark=self._steering.mark if attempt.sender.is_agents else 0,
        )

    def _owner_of(self, sender: Sender) -> Owner:
        """What the capture tells, else what was given for it."""
        given = self._owner
        if sender.is_sidecars:
            return Owner(self.config.sidecar.uid, self.config.sidecar.gid)
        uid = given.uid if sender.uid is None else sender.uid
        return Owner(uid, given.gid if sender.gid is None else sender.gid, given.cgroup)


def look_from(
    configs: Iterable[Config], facts: Facts, own: Iterable[str] = (), interface: str = ""
) -> Vantage:
    """What tells this VM's packets from others'. ``own`` are addresses that count besides."""
    bridges: set[str] = set()
    ports: set[int] = set()
    for config in configs:
        bridges |= set(config.capture.interfaces.bridges)
        sidecar = config.sidecar
        ports |= {sidecar.outbound_port, sidecar.inbound_port, config.dns.tcp_port}
    every = {*facts.own_addresses, *map(ip_address, own)}
    return Vantage(vantage.pack(every), frozenset(bridges), interface, frozenset(ports))
