"""The vocabulary of the mesh: hosts, ports, endpoints.

Every value is immutable and hashable. Names are lower case, without the final
dot; a wildcard host starts with ``*.``.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # pydantic is not for the DNS worker
    from interceptor.config.membership import Probe

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Labels = tuple[tuple[str, str], ...]  # sorted by key
Gateways = tuple[tuple[Address, int], ...]  # of a network: address and port


class Kind(enum.Enum):
    """What a host is, which decides how its name is answered."""

    SERVICE = "Service"  # core Service with a cluster IP
    HEADLESS = "headless Service"  # core Service with clusterIP: None
    EXTERNAL_NAME = "ExternalName Service"
    SERVICE_ENTRY = "ServiceEntry"
    POD = "Pod"  # <hostname>.<subdomain>.<ns>.svc.<domain> of a headless Service
    NAME_TABLE = "name table"


class Resolution(enum.Enum):
    """ServiceEntry.resolution; Services are STATIC."""

    NONE = "NONE"
    STATIC = "STATIC"
    DNS = "DNS"
    DNS_ROUND_ROBIN = "DNS_ROUND_ROBIN"


class AppProtocol(enum.Enum):
    """What a port carries, by Istio's convention on port names and appProtocol."""

    HTTP = "HTTP"
    HTTP2 = "HTTP2"
    GRPC = "GRPC"
    TCP = "TCP"
    TLS = "TLS"
    UDP = "UDP"

    @property
    def is_http(self) -> bool:
        return self in (AppProtocol.HTTP, AppProtocol.HTTP2, AppProtocol.GRPC)


@dataclass(frozen=True, slots=True)
class Port:
    """One port of a host. ``number`` is what clients call."""

    name: str
    number: int
    protocol: AppProtocol = AppProtocol.TCP


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One place where a host is served.

    ``address`` is an IP, or a DNS name where the host's resolution is DNS.
    ``ports`` holds (name of the host's port, number to dial); a port that is
    missing here is dialled at the host's own number. ``weight`` 0 means no
    weight was given (counts as 1). ``locality`` is ``region/zone/subzone``.
    ``identity`` is the name that it proves by its certificate, the path of a
    SPIFFE ID (``ns/bookinfo/sa/reviews``); empty where it speaks plain text.
    """

    address: Address | str
    ports: tuple[tuple[str, int], ...] = ()
    weight: int = 0
    locality: str = ""
    network: str = ""
    service_account: str = ""
    ready: bool = True
    origin: str = ""  # WorkloadEntry vm/mysql-1, Pod bookinfo/reviews-v1, endpoints of ...
    identity: str = ""
    gateways: Gateways = ()
    """Where it is reached from another network than its own, as far as that is known."""

    def port(self, port: Port) -> int:
        """The number to dial for the host's ``port``."""
        return next((number for name, number in self.ports if name == port.name), port.number)


@dataclass(frozen=True, slots=True)
class Host:
    """One name that the mesh knows.

    ``addresses`` is what DNS answers and clients dial: cluster IPs, a
    ServiceEntry's addresses, allocated VIPs, or for HEADLESS and POD the ready
    endpoints' addresses. Empty for EXTERNAL_NAME (see ``external_name``), for
    wildcards without addresses, and for a host whose VIP range ran out.
    ``networks`` are a ServiceEntry's CIDR addresses: captured, never answered.
    ``origin`` names the documents that it came from, for `why`.
    """

    name: str
    namespace: str
    kind: Kind
    addresses: tuple[Address, ...] = ()
    ports: tuple[Port, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    resolution: Resolution = Resolution.STATIC
    external_name: str = ""
    origin: str = ""
    mesh_external: bool = False
    extra_names: tuple[str, ...] = ()  # a name table's altHosts and shortname forms
    networks: tuple[Network, ...] = ()
    virtual: bool = False  # whether ``addresses`` are VIPs that we allocated
    short_names: bool = False  # a name table's registry "Kubernetes"
    subject_alt_names: tuple[str, ...] = ()  # who its endpoints may be, instead of their identities

    @property
    def is_wildcard(self) -> bool:
        return self.name.startswith("*.")

    @property
    def is_kubernetes(self) -> bool:
        """Whether the host came from a core Service, so that short names apply."""
        return self.short_names or self.kind in KUBERNETES

    @property
    def is_answered(self) -> bool:
        """Whether DNS for this name is ours.

        A ServiceEntry without any address (resolution NONE, CIDR addresses
        only, a wildcard, VIP ranges used up) is known to capture and sidecar,
        but its name belongs to the outside: its queries pass untouched, or
        the application could never reach it.
        """
        return bool(self.addresses) or self.kind in KUBERNETES


KUBERNETES = frozenset((Kind.SERVICE, Kind.HEADLESS, Kind.EXTERNAL_NAME, Kind.POD))


@dataclass(frozen=True, slots=True)
class Workload:
    """One WorkloadEntry or Pod of the mesh: somewhere a service may run.

    ``ports`` holds (name, number): a WorkloadEntry's ports, a Pod's named
    container ports. A dual-stack Pod is two Workloads of one name.
    """

    name: str
    namespace: str
    address: Address | str
    labels: tuple[tuple[str, str], ...] = ()
    ports: tuple[tuple[str, int], ...] = ()
    weight: int = 0
    locality: str = ""
    network: str = ""
    service_account: str = ""
    is_pod: bool = False
    ready: bool = True
    hostname: str = ""  # a Pod's spec.hostname
    subdomain: str = ""  # a Pod's spec.subdomain: the headless Service that names it
    origin: str = ""


@dataclass(frozen=True, slots=True)
class WorkloadGroup:
    """The template that a VM's own WorkloadEntry is made from, and how its health is probed."""

    name: str
    namespace: str
    labels: Labels = ()
    ports: tuple[tuple[str, int], ...] = ()
    weight: int = 0
    locality: str = ""
    network: str = ""
    service_account: str = ""
    origin: str = ""
    probe: Probe | None = field(default=None, hash=False)  # its headers are a mapping


@dataclass(frozen=True, slots=True)
class Locale:
    """From where the mesh is looked at: the parts of a VM that change names.

    ``search`` is resolv.conf's search list in its order; ``domain`` the
    cluster domain; ``own_zones`` are answered NXDOMAIN where no host bears a
    name below them. ``forward_zones`` holds (zone, servers): who is asked for such
    a name instead.
    """

    namespace: str = "default"
    domain: str = "cluster.local"
    search: tuple[str, ...] = ()
    own_zones: tuple[str, ...] = ()
    ttl_s: int = 30
    forward_zones: tuple[tuple[str, tuple[str, ...]], ...] = ()
