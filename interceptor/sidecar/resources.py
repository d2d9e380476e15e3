"""The mesh table as Envoy's resources, whole or by what changed.

`update` does the work for the hosts that changed and for the addresses they
share with others; `build` is an update from nothing, so the two cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from interceptor.mesh import policy
from interceptor.mesh.model import Host
from interceptor.mesh.model import Kind as HostKind
from interceptor.mesh.policy import PeerAuthentication
from interceptor.mesh.table import Difference, MeshTable
from interceptor.sidecar import claim, cluster, endpoint, inbound, listener, mtls
from interceptor.sidecar.claim import Claim, Conflict, Vip
from interceptor.sidecar.resource import Catalogue, Change, Key, Kind, Resource, encode
from interceptor.sidecar.setting import Settings


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """Every resource for one mesh table, and what the next update needs to know.

    ``claims`` says who wants which address and port; ``local`` which hosts have
    this VM among their endpoints; ``conflicts`` who lost an address.
    """

    settings: Settings
    hosts: Mapping[str, Host] = field(default_factory=dict)
    claims: Mapping[Vip, tuple[Claim, ...]] = field(default_factory=dict)
    local: frozenset[str] = frozenset()
    conflicts: Mapping[Vip, tuple[Conflict, ...]] = field(default_factory=dict)
    resources: Catalogue = field(default_factory=lambda: {kind: {} for kind in Kind})

    def __len__(self) -> int:
        return sum(len(resources) for resources in self.resources.values())


def build(table: MeshTable, settings: Settings) -> Snapshot:
    """Every resource of ``table``."""
    whole = Difference(tuple(table.hosts.values()), peers=table.peers or None)
    return update(empty(settings), whole)[0]


def empty(settings: Settings) -> Snapshot:
    """What Envoy gets for an empty mesh: the listeners of capture, and passing through."""
    draft = _Draft(Snapshot(settings))
    fixed = [
        cluster.passthrough(settings),
        cluster.blackhole(settings),
        cluster.inbound(cluster.INBOUND_PASSTHROUGH, settings),
    ]
    for made in fixed:
        draft.put(encode(Kind.CLUSTER, made.name, made))
    for bound in inbound.build_outbound(settings):
        draft.put(encode(Kind.LISTENER, bound.name, bound))
    draft.put(encode(Kind.LISTENER, inbound.INBOUND, inbound.build_inbound(settings, {})))
    return draft.finish()[0]


def update(previous: Snapshot, difference: Difference) -> tuple[Snapshot, Change]:
    """The snapshot after ``difference``, and the resources that are not what they were."""
    draft = _Draft(previous)
    if difference.peers is not None:
        draft.admit(difference.peers)
    affected: dict[Vip, None] = {}
    for name in difference.removed:
        draft.replace(name, None, affected)
    for host in difference.upserted:
        draft.replace(host.name, host if claim.is_served(host) else None, affected)
    for vip in affected:
        draft.listen(vip)
    return draft.finish()


class _Draft:
    """A snapshot in the making: the only mutable state, alive for one update."""

    def __init__(self, previous: Snapshot) -> None:
        self.settings = previous.settings
        self.hosts = dict(previous.hosts)
        self.claims = dict(previous.claims)
        self.local = set(previous.local)
        self.conflicts = dict(previous.conflicts)
        self.resources = {kind: dict(previous.resources[kind]) for kind in Kind}
        self.touched: dict[Key, None] = {}
        self.before = previous.resources
        self.is_local_touched = False

    def put(self, resource: Resource) -> None:
        was = self.resources[resource.kind].get(resource.name)
        if was is None or was.version != resource.version:
            self.resources[resource.kind][resource.name] = resource
            self.touched[resource.key] = None

    def drop(self, key: Key) -> None:
        kind, name = key
        if self.resources[kind].pop(name, None) is not None:
            self.touched[key] = None

    def admit(self, peers: Iterable[PeerAuthentication]) -> None:
        """Take in whom these say."""
        settings = self.settings
        decided = policy.decide(peers, settings.namespace, settings.labels, settings.mode)
        if settings.trust_domain and decided != settings.policy:
            self.settings = replace(settings, policy=decided)
            self.is_local_touched = True

    def replace(self, name: str, host: Host | None, affected: dict[Vip, None]) -> None:
        """Set or remove one host; its addresses are noted in ``affected`` where they matter."""
        old = self.hosts.pop(name, None)
        if host is not None:
            self.hosts[name] = host
        if old is None or host is None or not _is_alike(old, host):
            self._claim(name, old, host, affected)
        kept = self._serve(host) if host is not None else set()
        for key in (_served(old) if old is not None else set()) - kept:
            self.drop(key)
        local = host is not None and inbound.is_local(host, self.settings)
        if local or name in self.local:
            self.is_local_touched = True
            (self.local.add if local else self.local.discard)(name)

    def _claim(
        self, name: str, old: Host | None, host: Host | None, affected: dict[Vip, None]
    ) -> None:
        before = claim.choose(old) if old is not None else {}
        after = claim.choose(host) if host is not None else {}
        for vip in before | after:
            affected[vip] = None
            others = tuple(item for item in self.claims.get(vip, ()) if item.host != name)
            mine = (after[vip],) if vip in after else ()
            if others or mine:
                self.claims[vip] = others + mine
            else:
                self.claims.pop(vip, None)

    def _serve(self, host: Host) -> set[Key]:
        """Clusters and endpoints of a host."""
        for port in claim.ports(host):
            made = cluster.build(host, port, self.settings)
            self.put(encode(Kind.CLUSTER, made.name, made))
            if cluster.choose(host) is cluster.Discovery.EDS:
                is_secure = mtls.is_used(host, self.settings)
                assigned = endpoint.build(made.name, host, port, is_secure=is_secure)
                self.put(encode(Kind.ENDPOINT, made.name, assigned))
        return _served(host)

    def listen(self, vip: Vip) -> None:
        """The listener of one address and port, for whoever claims it now."""
        self.conflicts.pop(vip, None)
        if vip not in self.claims:
            self.drop((Kind.LISTENER, vip.name))
            return
        sharing, conflicts = claim.settle(vip, self.claims[vip])
        conflicts = [item for item in conflicts if not self._is_harmless(item)]
        if conflicts:
            self.conflicts[vip] = tuple(conflicts)
        targets = [self._target(item) for item in sharing]
        log = self.settings.access_log
        if sharing[0].port.protocol.is_http:
            made = listener.build_http(vip, targets, log)
        else:
            made = listener.build_tcp(vip, targets[0], log)
        self.put(encode(Kind.LISTENER, made.name, made))

    def _is_harmless(self, conflict: Conflict) -> bool:
        """Where both lead to the very address that was dialled, nobody loses anything."""
        both = (self.hosts[conflict.winner], self.hosts[conflict.loser])
        return all(cluster.choose(host) is cluster.Discovery.ORIGINAL_DST for host in both)

    def _target(self, item: Claim) -> listener.Target:
        host = self.hosts[item.host]
        names = claim.names(host, self.settings.namespace, self.settings.domain)
        name = cluster.outbound_name(host.name, item.port.number)
        return listener.Target(host.name, tuple(names), name)

    def _offer(self) -> None:
        """The VM's own services: the listener on 15006 and a cluster for each."""
        services = inbound.choose((self.hosts[name] for name in self.local), self.settings)
        wanted = {cluster.inbound_name(host, port) for port, host in services.items()}
        have = [name for name in self.resources[Kind.CLUSTER] if name.startswith("inbound|")]
        for name in have:
            if name not in wanted:
                self.drop((Kind.CLUSTER, name))
        for name in sorted(wanted):
            self.put(encode(Kind.CLUSTER, name, cluster.inbound(name, self.settings)))
        made = inbound.build_inbound(self.settings, services)
        self.put(encode(Kind.LISTENER, made.name, made))

    def finish(self) -> tuple[Snapshot, Change]:
        if self.is_local_touched:
            self._offer()
        snapshot = Snapshot(
            self.settings,
            self.hosts,
            self.claims,
            frozenset(self.local),
            self.conflicts,
            self.resources,
        )
        return snapshot, self._change()

    def _change(self) -> Change:
        upserted: list[Resource] = []
        removed: list[Key] = []
        for kind, name in self.touched:
            was = self.before[kind].get(name)
            now = self.resources[kind].get(name)
            if now is None and was is not None:
                removed.append((kind, name))
            elif now is not None and (was is None or was.version != now.version):
                upserted.append(now)
        return Change(tuple(upserted), tuple(removed))


def _served(host: Host) -> set[Key]:
    """The keys of a host's clusters and endpoints."""
    names = [cluster.outbound_name(host.name, port.number) for port in claim.ports(host)]
    keys = {(Kind.CLUSTER, name) for name in names}
    if cluster.choose(host) is cluster.Discovery.EDS:
        keys |= {(Kind.ENDPOINT, name) for name in names}
    return keys


def _is_alike(old: Host, host: Host) -> bool:
    """Whether a change leaves a host's listeners as they are, as one of endpoints mostly does."""
    return (
        HostKind.HEADLESS not in (old.kind, host.kind)
        and old.addresses == host.addresses
        and old.ports == host.ports
        and old.extra_names == host.extra_names
        and cluster.choose(old) is cluster.choose(host)
    )
