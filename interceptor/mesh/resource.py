"""The documents as values: what each says, before anything is joined.

``origin`` names the document and its file, as in
``ServiceEntry bookinfo/reviews (mesh.yaml)``.
"""

from __future__ import annotations

from dataclasses import dataclass

from interceptor.mesh.model import (
    Address,
    Endpoint,
    Gateways,
    Kind,
    Labels,
    Network,
    Port,
    Resolution,
    Workload,
    WorkloadGroup,
)
from interceptor.mesh.policy import PeerAuthentication

Import = tuple[int, str, str]
Targets = tuple[tuple[str, int | str], ...]
"""(name of a port, number or name to dial) of the ports whose target differs."""


@dataclass(frozen=True, slots=True)
class ServiceEntry:
    """``endpoints`` is None where a selector picks them; addresses and CIDRs apart."""

    namespace: str
    origin: str
    hosts: tuple[str, ...]
    addresses: tuple[Address, ...]
    networks: tuple[Network, ...]
    ports: tuple[Port, ...]
    targets: Targets
    resolution: Resolution
    mesh_external: bool
    endpoints: tuple[Endpoint, ...]
    selector: Labels | None
    export_to: tuple[str, ...]
    wants_address: bool
    subject_alt_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Service:
    name: str
    namespace: str
    origin: str
    kind: Kind
    addresses: tuple[Address, ...]
    ports: tuple[Port, ...]
    targets: Targets
    selector: Labels
    export_to: tuple[str, ...]
    external_name: str
    publish_not_ready: bool
    network: str = ""
    gateways: Gateways = ()
    """Of ``network``, whose east-west gateway the Service is."""


@dataclass(frozen=True, slots=True)
class Slice:
    """An EndpointSlice or Endpoints: the places of one Service, with their host names.

    ``ports`` of an endpoint holds (name of the Service's port, number).
    """

    name: str
    namespace: str
    origin: str
    service: str
    is_endpoints: bool
    endpoints: tuple[tuple[str, Endpoint], ...]


@dataclass(frozen=True, slots=True)
class Workloads:
    """A WorkloadEntry or a Pod: one Workload for each of its addresses."""

    name: str
    namespace: str
    origin: str
    members: tuple[Workload, ...]


@dataclass(frozen=True, slots=True)
class Group:
    namespace: str
    origin: str
    group: WorkloadGroup


@dataclass(frozen=True, slots=True)
class Sidecar:
    """``imports`` are (port, 0 for all; namespace, ``.``, ``*`` or ``~``; host, ``*.suffix`` or
    ``*``)."""

    name: str
    namespace: str
    origin: str
    selector: Labels
    imports: tuple[Import, ...]


@dataclass(frozen=True, slots=True)
class MeshNetwork:
    """One network: the addresses and registries that are of it, and how others get in."""

    name: str
    ranges: tuple[Network, ...]
    registries: tuple[str, ...]
    gateways: Gateways


@dataclass(frozen=True, slots=True)
class MeshNetworks:
    name: str
    namespace: str
    origin: str
    networks: tuple[MeshNetwork, ...]


Outlook = Sidecar | MeshNetworks | PeerAuthentication
"""What says nothing of a host by itself."""
Resource = ServiceEntry | Service | Slice | Workloads | Group | Outlook
