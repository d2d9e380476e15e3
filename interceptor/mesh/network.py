"""Networks of a mesh: which endpoints can be dialled, and which are behind a gateway.

An endpoint's network is what it says itself, by field or label, else that of the range that
its address is in, else that of the registry that it comes from (MeshNetworks). One of another
network than the viewer's is reached through that network's gateways, where any are known; else
it is dialled all the same, as is any where one of the two says no network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from sys import intern

from typing_extensions import TypedDict  # pydantic asks for this one before Python 3.12

from interceptor.mesh import endpoint as endpoints
from interceptor.mesh import field as fields
from interceptor.mesh import kubernetes, shape
from interceptor.mesh.field import Note, Notes
from interceptor.mesh.model import Address, Endpoint, Gateways, Host, Kind, Network
from interceptor.mesh.resource import MeshNetwork, MeshNetworks, Service

LABEL = "topology.istio.io/network"


@shape.STRICT
class NetworkEndpoints(TypedDict, total=False):
    fromCidr: str
    fromRegistry: str


@shape.STRICT
class NetworkGateway(TypedDict, total=False):
    address: str
    registryServiceName: str
    port: shape.Port


@shape.STRICT
class NetworkShape(TypedDict, total=False):
    endpoints: list[NetworkEndpoints]
    gateways: list[NetworkGateway]


@shape.STRICT
class NetworksSpec(TypedDict, total=False):
    networks: dict[str, NetworkShape]


@shape.STRICT
class Document(TypedDict, total=False):
    metadata: shape.Metadata
    networks: dict[str, NetworkShape]
    spec: NetworksSpec


def read(found: Document, origin: str, notes: Notes) -> MeshNetworks:
    metadata = found.get("metadata", {})
    said = found.get("networks") or found.get("spec", {}).get("networks", {})
    return MeshNetworks(
        name=metadata.get("name", ""),
        namespace=intern(metadata.get("namespace", "default")),
        origin=origin,
        networks=tuple(_network(notes, name, each) for name, each in said.items()),
    )


def _network(notes: Notes, name: str, found: NetworkShape) -> MeshNetwork:
    ranges: list[Network] = []
    registries: list[str] = []
    gateways: list[tuple[Address, int]] = []
    for index, part in enumerate(found.get("endpoints", ())):
        if text := part.get("fromCidr", ""):
            key = f"networks.{name}.endpoints[{index}].fromCidr"
            ranges += fields.network(notes, key, text)
        registries += [text] if (text := part.get("fromRegistry", "")) else []
    for index, gateway in enumerate(found.get("gateways", ())):
        key = f"networks.{name}.gateways[{index}]"
        if "registryServiceName" in gateway:
            legal = f"address: the gateway's IP; or label its Service {LABEL}: {name}"
            notes.append(Note(f"{key}.registryServiceName", gateway["registryServiceName"], legal))
            continue
        address = fields.address(notes, f"{key}.address", gateway.get("address", ""))
        if address is not None:
            gateways.append((address, gateway.get("port", kubernetes.GATEWAY_PORT)))
    return MeshNetwork(name, tuple(ranges), tuple(registries), tuple(gateways))


@dataclass(frozen=True, slots=True)
class Topology:
    """Networks as seen from one of them. ``own`` is the viewer's, empty where it has none."""

    own: str = ""
    ranges: tuple[tuple[Network, str], ...] = ()
    registry: str = ""  # network of the registry that all documents are of
    gateways: Mapping[str, Gateways] = field(default_factory=dict)

    def place(self, host: Host) -> Host:
        """The host with its endpoints' networks and gateways; names of Pods, and of headless
        services, have addresses of the viewer's network only."""
        if not self.own:
            return host
        placed = tuple(map(self._place, host.endpoints))
        if all(new is old for new, old in zip(placed, host.endpoints, strict=True)):
            placed = host.endpoints
        addresses = host.addresses
        if host.kind in (Kind.HEADLESS, Kind.POD):
            near = [each for each in placed if each.ready and self.is_near(each.network)]
            addresses = endpoints.ips(near)
        if placed is host.endpoints and addresses == host.addresses:
            return host
        return replace(host, endpoints=placed, addresses=addresses)

    def is_near(self, network: str) -> bool:
        return network in ("", self.own) or not self.own

    def _place(self, found: Endpoint) -> Endpoint:
        network = found.network or self._network(found.address)
        gateways = () if self.is_near(network) else self.gateways.get(network, ())
        if (network, gateways) == (found.network, found.gateways):
            return found
        return replace(found, network=network, gateways=gateways)

    def _network(self, address: Address | str) -> str:
        if isinstance(address, Address):
            fitting = [pair for pair in self.ranges if address in pair[0]]
            if fitting:
                return max(fitting, key=lambda pair: pair[0].prefixlen)[1]
        return self.registry


def build(
    own: str, cluster: str, documents: list[MeshNetworks], services: list[Service]
) -> Topology:
    """The topology that MeshNetworks and the labelled Services of gateways make."""
    said = [each for document in documents for each in document.networks]
    gateways: dict[str, Gateways] = {}
    for each in said:
        gateways[each.name] = (*gateways.get(each.name, ()), *each.gateways)
    for service in services:
        name = service.network
        gateways[name] = (*gateways.get(name, ()), *service.gateways)
    return Topology(
        own,
        tuple((each, network.name) for network in said for each in network.ranges),
        next((network.name for network in said if cluster in network.registries), ""),
        {
            name: tuple(dict.fromkeys(sorted(each, key=str)))
            for name, each in gateways.items()
            if each
        },
    )
