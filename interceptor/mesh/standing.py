"""From where a workload looks at the mesh: the Sidecar that counts for it, and its network."""

from __future__ import annotations

from dataclasses import dataclass, replace

from interceptor.mesh import egress, network
from interceptor.mesh.model import Host, Labels
from interceptor.mesh.network import Topology
from interceptor.mesh.resource import MeshNetworks, Resource, Service, ServiceEntry, Sidecar


@dataclass(frozen=True, slots=True)
class Workplace:
    """The viewer itself. ``cluster`` is the registry that all documents are of."""

    labels: Labels = ()
    network: str = ""
    cluster: str = ""


NOWHERE = Workplace()


class Standing:
    """Follows the documents that say what a viewer of ``namespace`` gets to see."""

    def __init__(self, namespace: str, workplace: Workplace) -> None:
        self._namespace = namespace
        self._workplace = workplace
        self._sidecars: dict[int, Sidecar] = {}
        self._networks: dict[int, MeshNetworks] = {}
        self._gateways: dict[int, Service] = {}
        self._is_new = True
        self.sidecar: Sidecar | None = None
        self.topology = Topology(workplace.network)

    def add(self, resource: Resource) -> None:
        if isinstance(resource, Sidecar):
            self._sidecars[id(resource)] = resource
        elif isinstance(resource, MeshNetworks):
            self._networks[id(resource)] = resource
        elif isinstance(resource, Service) and resource.gateways:
            self._gateways[id(resource)] = resource
        else:
            return
        self._is_new = True

    def drop(self, resource: Resource) -> None:
        for kept in (self._sidecars, self._networks, self._gateways):
            if kept.pop(id(resource), None) is not None:
                self._is_new = True

    def renew(self) -> bool:
        """Look at the documents anew. Whether that changes what is seen of every host."""
        if not self._is_new:
            return False
        self._is_new = False
        before = self.sidecar, self.topology
        chosen = egress.choose(self._sidecars.values(), self._namespace, self._workplace.labels)
        self.sidecar = chosen
        self.topology = network.build(
            self._workplace.network,
            self._workplace.cluster,
            sorted(self._networks.values(), key=lambda each: each.origin),
            sorted(self._gateways.values(), key=lambda each: each.origin),
        )
        return before != (self.sidecar, self.topology)

    def sees(self, claim: Service | ServiceEntry, name: str) -> bool:
        """Whether the Sidecar lets a document's host ``name`` be seen at all."""
        if self.sidecar is None:
            return True
        return egress.ports(self.sidecar, claim.namespace, name, self._namespace) != frozenset()

    def place(self, host: Host) -> Host:
        """A host with the ports that are seen, and its endpoints as they are reached."""
        if self.sidecar is not None:
            kept = egress.ports(self.sidecar, host.namespace, host.name, self._namespace)
            if kept:
                host = replace(host, ports=tuple(p for p in host.ports if p.number in kept))
        return self.topology.place(host)
