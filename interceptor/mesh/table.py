"""The mesh table: what the mesh says at one moment, and how two moments differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from interceptor.errors import Problem
from interceptor.mesh.model import Address, Host, Network, Workload, WorkloadGroup
from interceptor.mesh.policy import PeerAuthentication


@dataclass(frozen=True, slots=True)
class Difference:
    """What has to be done to ``old`` to get ``new``. Names of removed hosts only.

    ``before`` holds the hosts as they were that ``upserted`` replaces and
    ``removed`` takes away, so that a reader can count addresses down without
    walking a whole table. ``peers`` are all of ``new``, None where they are the same.
    """

    upserted: tuple[Host, ...] = ()
    removed: tuple[str, ...] = ()
    before: tuple[Host, ...] = ()
    peers: tuple[PeerAuthentication, ...] | None = None

    def __bool__(self) -> bool:
        return bool(self.upserted or self.removed or self.peers is not None)


@dataclass(frozen=True, slots=True, eq=False)
class MeshTable:
    """Every host that this VM may see, by name (wildcards under ``*.suffix``).

    ``warnings`` are problems that cost some host something without making the
    input illegal (a VIP range that is used up, two owners of one host).
    """

    hosts: Mapping[str, Host] = field(default_factory=dict)
    workloads: tuple[Workload, ...] = ()
    warnings: tuple[Problem, ...] = ()
    groups: tuple[WorkloadGroup, ...] = ()
    peers: tuple[PeerAuthentication, ...] = ()

    def __len__(self) -> int:
        return len(self.hosts)

    def addresses(self) -> frozenset[Address]:
        """Every address that some host is called by: what capture must cover."""
        return frozenset(address for host in self.hosts.values() for address in host.addresses)

    def networks(self) -> frozenset[Network]:
        """Every CIDR that some host is called by: captured like an address."""
        return frozenset(network for host in self.hosts.values() for network in host.networks)


EMPTY = MeshTable()


def diff(old: MeshTable, new: MeshTable) -> Difference:
    """The hosts to add, replace and remove. Unchanged Host objects cost one `is`."""
    if old is new:
        return Difference()
    before = old.hosts
    upserted = tuple(
        host
        for name, host in new.hosts.items()
        if (was := before.get(name)) is not host and was != host
    )
    removed = tuple(name for name in before if name not in new.hosts)
    gone = tuple(before[host.name] for host in upserted if host.name in before)
    gone += tuple(before[name] for name in removed)
    return Difference(upserted, removed, gone, new.peers if new.peers != old.peers else None)
