"""The mesh table out of files of documents, and out of what changed in them.

`Inventory` holds the documents by file. A change touches the hosts whose
documents changed, or whose selector picks what changed, and no others; what
comes out is the same as if all files had been read afresh (a test holds this)
with the VIPs that there were.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from interceptor.errors import Problem
from interceptor.mesh import entry, field, merge, service
from interceptor.mesh.merge import Claim
from interceptor.mesh.model import Address, Host, WorkloadGroup
from interceptor.mesh.peering import Peering
from interceptor.mesh.resource import (
    Group,
    Outlook,
    Resource,
    Service,
    ServiceEntry,
    Slice,
    Workloads,
)
from interceptor.mesh.selector import Index
from interceptor.mesh.standing import NOWHERE, Standing, Workplace
from interceptor.mesh.table import Difference, MeshTable
from interceptor.mesh.vip import Allocation

Pieces = Mapping[int, tuple[Resource, ...]]


class Inventory:
    """Every document of the mesh as seen from one namespace, and the table they make."""

    def __init__(
        self,
        namespace: str,
        domain: str,
        allocation: Allocation,
        workplace: Workplace = NOWHERE,
    ) -> None:
        """``namespace`` and ``domain`` are the VM's; ``allocation`` is changed by `build`."""
        self._standing, self._peering = Standing(namespace, workplace), Peering()
        self.allocation = allocation
        self._viewer, self._domain = namespace, domain
        self._files: dict[str, Pieces] = {}
        self._claims: dict[str, Claim | list[Claim]] = {}
        self._slices: dict[str, list[Slice]] = {}  # by the Service's host name
        self._index = Index()
        self._groups: dict[int, Group] = {}
        self._pods: dict[str, tuple[str, ...]] = {}  # host of a Service → its Pods' names
        self._pod_hosts: dict[str, Host] = {}
        self._explicit: dict[str, tuple[Address, ...]] = {}  # those within the VIP ranges
        self._dirty: dict[str, None] = {}  # in order, as the documents came
        self._has_new_workloads = False
        self._warnings: dict[str, tuple[Problem, ...]] = {}
        self._is_first = True
        self._table = MeshTable()

    def pieces(self, file: str) -> Pieces:
        """What `replace` was last given for ``file``."""
        return self._files.get(file, {})

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(self._files)

    def replace(self, file: str, pieces: Pieces) -> None:
        """From now on ``file`` says ``pieces``; counts with the next `build`."""
        before = self._files.pop(file, {})
        if pieces:
            self._files[file] = pieces
        for resource in _only(before, pieces):
            self._drop(resource)
        for resource in _only(pieces, before):
            self._add(resource)

    def remove(self, file: str) -> None:
        self.replace(file, {})

    def build(self) -> tuple[MeshTable, Difference]:
        """The table as it is now, and what changed since the last `build`."""
        if self._standing.renew():
            self._dirty = dict.fromkeys((*self._dirty, *self._claims))
        dirty, self._dirty = self._dirty, {}
        old = self._table.hosts
        chosen = {name: self._choose(name) for name in dirty}
        moved = self._allocate(chosen)
        chosen |= {name: self._choose(name) for name in sorted(moved) if name not in chosen}
        upserted: list[Host] = []
        removed: list[str] = []
        for name, host in self._hosts(chosen):
            if host is None:
                removed += [name] if name in old else []
            elif old.get(name) != host:
                upserted.append(host)
        hosts = dict(old)
        for name in removed:
            del hosts[name]
        hosts.update((host.name, host) for host in upserted)
        before = [old[host.name] for host in upserted if host.name in old]
        before += [old[name] for name in removed]
        self._table = MeshTable(
            hosts,
            self._index.everything() if self._has_new_workloads else self._table.workloads,
            self._all_warnings(),
            _last_of_each(self._groups.values()),
            self._peering.found,
        )
        self._has_new_workloads = False
        peers = self._peering.renew()
        return self._table, Difference(tuple(upserted), tuple(removed), tuple(before), peers)

    # --- documents in and out

    def _add(self, resource: Resource) -> None:
        self._standing.add(resource)
        self._peering.add(resource)
        if isinstance(resource, Outlook):
            return
        if isinstance(resource, Group):
            self._groups[id(resource)] = resource
        elif isinstance(resource, Workloads):
            self._has_new_workloads = True
            self._dirty |= dict.fromkeys(sorted(self._index.add(resource)))
        elif isinstance(resource, Slice):
            name = self._service_name(resource.service, resource.namespace)
            self._slices.setdefault(name, []).append(resource)
            self._dirty[name] = None
        elif field.is_visible(resource.export_to, resource.namespace, self._viewer):
            for name in self._names(resource):
                self._claim(name, resource)
                if resource.selector is not None:
                    self._index.follow(resource.namespace, resource.selector, name)

    def _drop(self, resource: Resource) -> None:
        self._standing.drop(resource)
        self._peering.drop(resource)
        if isinstance(resource, Outlook):
            return
        if isinstance(resource, Group):
            del self._groups[id(resource)]
        elif isinstance(resource, Workloads):
            self._has_new_workloads = True
            self._dirty |= dict.fromkeys(sorted(self._index.drop(resource)))
        elif isinstance(resource, Slice):
            name = self._service_name(resource.service, resource.namespace)
            left = [other for other in self._slices.pop(name) if other is not resource]
            if left:
                self._slices[name] = left
            self._dirty[name] = None
        elif field.is_visible(resource.export_to, resource.namespace, self._viewer):
            for name in self._names(resource):
                self._unclaim(name, resource)
                if resource.selector is not None:
                    self._index.unfollow(resource.namespace, resource.selector, name)

    def _names(self, resource: Claim) -> tuple[str, ...]:
        if isinstance(resource, ServiceEntry):
            return resource.hosts
        return (self._service_name(resource.name, resource.namespace),)

    def _service_name(self, name: str, namespace: str) -> str:
        return f"{name}.{namespace}.svc.{self._domain}"

    def _claim(self, name: str, resource: Claim) -> None:
        """A lone claim is kept without a list: with 100,000 hosts that is 6 MB."""
        before = self._claims.get(name)
        if before is None:
            self._claims[name] = resource
        elif isinstance(before, list):
            before.append(resource)
        else:
            self._claims[name] = [before, resource]
        self._dirty[name] = None

    def _unclaim(self, name: str, resource: Claim) -> None:
        left = [claim for claim in self._claimed(name) if claim is not resource]
        if not left:
            del self._claims[name]
        else:
            self._claims[name] = left[0] if len(left) == 1 else left
        self._dirty[name] = None

    def _claimed(self, name: str) -> list[Claim]:
        found = self._claims.get(name)
        return found if isinstance(found, list) else [] if found is None else [found]

    # --- documents to hosts

    def _choose(self, name: str) -> list[Claim]:
        """The claims that count for ``name``; sets its warnings anew."""
        claims = [each for each in self._claimed(name) if self._standing.sees(each, name)]
        self._warnings.pop(name, None)
        if len(claims) > 1:
            claims, warnings = merge.choose(claims, self._viewer)
            self._warn(name, warnings)
        return claims

    def _warn(self, name: str, warnings: Iterable[Problem]) -> None:
        if found := (*self._warnings.get(name, ()), *warnings):
            self._warnings[name] = found

    def _allocate(self, chosen: Mapping[str, list[Claim]]) -> set[str]:
        """Brings the VIPs up to date; returns the hosts that had to move.

        Explicit addresses are blocked before any is handed out, and names are
        served in sorted order, so that the result does not hang on the order
        of files and documents.
        """
        wanting = {name for name, claims in chosen.items() if merge.wants_vip(claims, name)}
        moved = self._block(chosen)
        idle = [name for name in chosen if name not in wanting]
        if self._is_first:  # hosts of the state file that are gone
            self._is_first = False
            idle += [name for name in self.allocation.slots if name not in chosen]
        for name in sorted(idle):
            self.allocation.release(name)
        moved -= set(idle)
        for name in sorted(wanting | moved):
            self.allocation.allocate(name)
        return moved

    def _block(self, chosen: Mapping[str, list[Claim]]) -> set[str]:
        """Keeps addresses that documents name out of the VIPs; returns whom that displaced."""
        moved = set()
        covers = self.allocation.covers
        for name, claims in chosen.items():
            for address in self._explicit.pop(name, ()):
                self.allocation.unblock(address)
            found = {a for claim in claims for a in claim.addresses if covers(a)}
            if found:
                self._explicit[name] = tuple(found)
                moved |= {self.allocation.block(address) for address in found}
        return {name for name in moved if name is not None}

    def _hosts(self, chosen: Mapping[str, list[Claim]]) -> Iterator[tuple[str, Host | None]]:
        """Each name that may have changed, once, with its host now."""
        made: dict[str, Host | None] = {}
        pods: dict[str, None] = {}
        for name, claims in chosen.items():
            made[name], members = self._host(name, claims)
            before = self._pods.pop(name, ())
            for member in before:
                del self._pod_hosts[member]
            if members:
                self._pods[name] = tuple(member.name for member in members)
                self._pod_hosts.update((member.name, member) for member in members)
            if before or members:
                pods |= dict.fromkeys((*before, *self._pods.get(name, ())))
        for name in pods:
            if name not in chosen:
                made[name] = self._host(name, self._choose(name))[0]
        for name, host in made.items():
            # A ServiceEntry that bears the name of a Pod stands behind it.
            yield name, self._pod_hosts.get(name, host)

    def _host(self, name: str, claims: list[Claim]) -> tuple[Host | None, list[Host]]:
        if not claims:
            return None, []
        vip, place = self.allocation.addresses(name), self._standing.place
        first = claims[0]
        if isinstance(first, Service):
            slices = merge.last_of_each(self._slices.get(name, ()))
            host, members = service.build(first, name, slices, self._index.pick, vip)
            placed = (place(member) for member in members)
            return place(host), [member for member in placed if member.addresses]
        found = [claim for claim in claims if isinstance(claim, ServiceEntry)]
        host, warnings = entry.build(found, name, self._index.pick, vip)
        self._warn(name, warnings)
        return place(host), []

    def _all_warnings(self) -> tuple[Problem, ...]:
        found = [problem for name in sorted(self._warnings) for problem in self._warnings[name]]
        return (*found, *self.allocation.warnings())


def _only(these: Pieces, others: Pieces) -> Iterator[Resource]:
    """The resources of the pieces that ``others`` does not hold."""
    for digest, resources in these.items():
        if others.get(digest) is not resources:
            yield from resources


def _last_of_each(groups: Iterable[Group]) -> tuple[WorkloadGroup, ...]:
    """The groups by name; of one that stands in several files the last file's."""
    ordered = sorted((found.group for found in groups), key=_rank)
    return tuple({(group.namespace, group.name): group for group in ordered}.values())


def _rank(group: WorkloadGroup) -> tuple[str, str, str, str]:
    return (group.namespace, group.name, group.origin, repr(group))
