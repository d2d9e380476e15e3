"""What the documents look like: the parts of them that mean something here.

Unknown fields are fine, as they are to Kubernetes; wrong types are not. No key
is required here, so that the rest of a document can be looked at when a part
of it is wrong: what is required is asked for in `istio` and `kubernetes`.
Typed dictionaries are what pydantic checks quickest (9 µs a ServiceEntry; as
models 50), and no default is copied.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict  # pydantic asks for this one before Python 3.12

Port = Annotated[int, Field(ge=1, le=65535)]
Weight = Annotated[int, Field(ge=0, le=0xFFFFFFFF)]
Texts = list[str]
Map = dict[str, str]
Protocol = Literal["TCP", "UDP", "SCTP"]
STRICT = with_config(ConfigDict(strict=True, extra="ignore"))


@STRICT
class Metadata(TypedDict, total=False):
    name: str
    namespace: str
    labels: Map
    annotations: Map
    deletionTimestamp: object


@STRICT
class Condition(TypedDict, total=False):
    type: str
    status: str


@STRICT
class Conditions(TypedDict, total=False):
    conditions: list[Condition]


# --- networking.istio.io


@STRICT
class EntryPort(TypedDict, total=False):
    number: Port
    name: str
    protocol: str
    targetPort: Port


@STRICT
class EntryEndpoint(TypedDict, total=False):
    """A ServiceEntry's endpoint, a WorkloadEntry's spec, a WorkloadGroup's template."""

    address: str
    ports: dict[str, Port]
    labels: Map
    network: str
    locality: str
    weight: Weight
    serviceAccount: str


@STRICT
class WorkloadSelector(TypedDict, total=False):
    labels: Map


@STRICT
class EntrySpec(TypedDict, total=False):
    hosts: Texts
    addresses: Texts
    ports: list[EntryPort]
    location: Literal["MESH_EXTERNAL", "MESH_INTERNAL"]
    resolution: Literal["NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN"]
    endpoints: list[EntryEndpoint]
    workloadSelector: WorkloadSelector
    exportTo: Texts
    subjectAltNames: Texts


@STRICT
class ServiceEntry(TypedDict, total=False):
    metadata: Metadata
    spec: EntrySpec


@STRICT
class WorkloadEntry(TypedDict, total=False):
    metadata: Metadata
    spec: EntryEndpoint
    status: Conditions


@STRICT
class GroupSpec(TypedDict, total=False):
    """``probe`` is looked at by `config.Probe`."""

    metadata: Metadata
    template: EntryEndpoint
    probe: dict[str, object]


@STRICT
class WorkloadGroup(TypedDict, total=False):
    metadata: Metadata
    spec: GroupSpec


@STRICT
class ListenerPort(TypedDict, total=False):
    number: Port


@STRICT
class EgressPart(TypedDict, total=False):
    port: ListenerPort
    hosts: Texts


@STRICT
class SidecarSpec(TypedDict, total=False):
    workloadSelector: WorkloadSelector
    egress: list[EgressPart]


@STRICT
class Sidecar(TypedDict, total=False):
    metadata: Metadata
    spec: SidecarSpec


# --- Kubernetes


@STRICT
class ServicePort(TypedDict, total=False):
    name: str
    port: Port
    protocol: Protocol
    appProtocol: str
    targetPort: int | str


@STRICT
class ServiceSpec(TypedDict, total=False):
    type: Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"]
    clusterIP: str
    clusterIPs: Texts
    externalName: str
    ports: list[ServicePort]
    selector: Map
    publishNotReadyAddresses: bool
    externalIPs: Texts


@STRICT
class Ingress(TypedDict, total=False):
    ip: str


@STRICT
class LoadBalancer(TypedDict, total=False):
    ingress: list[Ingress]


@STRICT
class ServiceStatus(TypedDict, total=False):
    loadBalancer: LoadBalancer


@STRICT
class Service(TypedDict, total=False):
    metadata: Metadata
    spec: ServiceSpec
    status: ServiceStatus


@STRICT
class SlicePort(TypedDict, total=False):
    name: str
    port: Port
    protocol: Protocol


@STRICT
class SliceConditions(TypedDict, total=False):
    ready: bool


@STRICT
class Reference(TypedDict, total=False):
    kind: str
    name: str


@STRICT
class SliceEndpoint(TypedDict, total=False):
    addresses: Texts
    conditions: SliceConditions
    hostname: str
    targetRef: Reference


@STRICT
class EndpointSlice(TypedDict, total=False):
    metadata: Metadata
    addressType: Literal["IPv4", "IPv6", "FQDN"]
    ports: list[SlicePort]
    endpoints: list[SliceEndpoint]


@STRICT
class EndpointAddress(TypedDict, total=False):
    ip: str
    hostname: str
    targetRef: Reference


@STRICT
class Subset(TypedDict, total=False):
    addresses: list[EndpointAddress]
    notReadyAddresses: list[EndpointAddress]
    ports: list[SlicePort]


@STRICT
class Endpoints(TypedDict, total=False):
    metadata: Metadata
    subsets: list[Subset]


@STRICT
class ContainerPort(TypedDict, total=False):
    name: str
    containerPort: Port


@STRICT
class Container(TypedDict, total=False):
    ports: list[ContainerPort]


@STRICT
class PodSpec(TypedDict, total=False):
    hostname: str
    subdomain: str
    serviceAccountName: str
    containers: list[Container]


@STRICT
class PodIp(TypedDict, total=False):
    ip: str


@STRICT
class PodStatus(TypedDict, total=False):
    phase: str
    podIP: str
    podIPs: list[PodIp]
    conditions: list[Condition]


@STRICT
class Pod(TypedDict, total=False):
    metadata: Metadata
    spec: PodSpec
    status: PodStatus
