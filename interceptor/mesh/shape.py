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
_STRICT = with_config(ConfigDict(strict=True, extra="ignore"))


@_STRICT
class Metadata(TypedDict, total=False):
    name: str
    namespace: str
    labels: Map
    annotations: Map
    deletionTimestamp: object


@_STRICT
class Condition(TypedDict, total=False):
    type: str
    status: str


@_STRICT
class Conditions(TypedDict, total=False):
    conditions: list[Condition]


# --- networking.istio.io


@_STRICT
class EntryPort(TypedDict, total=False):
    number: Port
    name: str
    protocol: str
    targetPort: Port


@_STRICT
class EntryEndpoint(TypedDict, total=False):
    """A ServiceEntry's endpoint, a WorkloadEntry's spec, a WorkloadGroup's template."""

    address: str
    ports: dict[str, Port]
    labels: Map
    network: str
    locality: str
    weight: Weight
    serviceAccount: str


@_STRICT
class WorkloadSelector(TypedDict, total=False):
    labels: Map


@_STRICT
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


@_STRICT
class ServiceEntry(TypedDict, total=False):
    metadata: Metadata
    spec: EntrySpec


@_STRICT
class WorkloadEntry(TypedDict, total=False):
    metadata: Metadata
    spec: EntryEndpoint
    status: Conditions


@_STRICT
class GroupSpec(TypedDict, total=False):
    """``probe`` is looked at by `config.Probe`."""

    metadata: Metadata
    template: EntryEndpoint
    probe: dict[str, object]


@_STRICT
class WorkloadGroup(TypedDict, total=False):
    metadata: Metadata
    spec: GroupSpec


# --- Kubernetes


@_STRICT
class ServicePort(TypedDict, total=False):
    name: str
    port: Port
    protocol: Protocol
    appProtocol: str
    targetPort: int | str


@_STRICT
class ServiceSpec(TypedDict, total=False):
    type: Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"]
    clusterIP: str
    clusterIPs: Texts
    externalName: str
    ports: list[ServicePort]
    selector: Map
    publishNotReadyAddresses: bool


@_STRICT
class Service(TypedDict, total=False):
    metadata: Metadata
    spec: ServiceSpec


@_STRICT
class SlicePort(TypedDict, total=False):
    name: str
    port: Port
    protocol: Protocol


@_STRICT
class SliceConditions(TypedDict, total=False):
    ready: bool


@_STRICT
class Reference(TypedDict, total=False):
    kind: str
    name: str


@_STRICT
class SliceEndpoint(TypedDict, total=False):
    addresses: Texts
    conditions: SliceConditions
    hostname: str
    targetRef: Reference


@_STRICT
class EndpointSlice(TypedDict, total=False):
    metadata: Metadata
    addressType: Literal["IPv4", "IPv6", "FQDN"]
    ports: list[SlicePort]
    endpoints: list[SliceEndpoint]


@_STRICT
class EndpointAddress(TypedDict, total=False):
    ip: str
    hostname: str
    targetRef: Reference


@_STRICT
class Subset(TypedDict, total=False):
    addresses: list[EndpointAddress]
    notReadyAddresses: list[EndpointAddress]
    ports: list[SlicePort]


@_STRICT
class Endpoints(TypedDict, total=False):
    metadata: Metadata
    subsets: list[Subset]


@_STRICT
class ContainerPort(TypedDict, total=False):
    name: str
    containerPort: Port


@_STRICT
class Container(TypedDict, total=False):
    ports: list[ContainerPort]


@_STRICT
class PodSpec(TypedDict, total=False):
    hostname: str
    subdomain: str
    serviceAccountName: str
    containers: list[Container]


@_STRICT
class PodIp(TypedDict, total=False):
    ip: str


@_STRICT
class PodStatus(TypedDict, total=False):
    phase: str
    podIP: str
    podIPs: list[PodIp]
    conditions: list[Condition]


@_STRICT
class Pod(TypedDict, total=False):
    metadata: Metadata
    spec: PodSpec
    status: PodStatus
