"""The keys of this VM as a member of a mesh: control plane, identity, registration, health."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from interceptor.config.element import DnsName, Group, HostPort, Label, PortNumber

STATE = Path("/var/lib/interceptor")  # as mesh.state_dir: what a reboot must not lose
FOLDER = Path("/etc/interceptor")


class Istiod(Group):
    """The control plane, for mesh.source istiod."""

    addresses: tuple[HostPort, ...] = ("istiod.istio-system.svc:15012",)
    """HOST:PORT of each control plane; the next is tried where one does not answer."""
    tls: Literal["auto", "on", "off"] = "auto"
    """auto: on, but for port 15010, where istiod speaks plain text."""
    root_cert: Path = FOLDER / "root-cert.pem"
    """Certificate of the authority that istiod's own certificate is of; watched."""
    server_name: str = ""
    """Name that istiod's certificate must bear; empty: the host of the address."""
    token: Path = STATE / "istio-token"
    """Bearer token, read afresh at each call. Where a reboot does not lose it."""
    protocol: Literal["auto", "delta", "sotw"] = "auto"
    """Delta xDS, state of the world, or the first that is answered."""
    headers: Mapping[str, str] = {}
    """More gRPC metadata for each call, such as a load balancer may want."""
    connect_timeout_ms: Annotated[int, Field(ge=100, le=60_000)] = 5000
    """How long one address may take to answer. Unit: milliseconds."""
    empty_after_s: Annotated[int, Field(ge=0)] = 60
    """How long an empty table must stand before it is believed after a full one. Unit: seconds."""


class Identity(Group):
    """The key and certificate by which others know this VM."""

    provider: Literal["auto", "istiod", "local", "socket", "none"] = "auto"
    """istiod: by its CA, or by another VM's (authority.listen); local: signed by the authority
    whose key is on this host; socket: somebody else's SDS, such as SPIRE's. auto: socket where one
    is there, istiod where mesh.source is istiod, else none."""
    addresses: tuple[HostPort, ...] = ()
    """HOST:PORT of the authority; empty: those of mesh.istiod."""
    trust_domain: DnsName = "cluster.local"
    """First part of SPIFFE names: spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/SERVICE_ACCOUNT."""
    key: Literal["rsa-2048", "ecdsa-p256"] = "ecdsa-p256"
    """Kind of private key."""
    ttl_s: Annotated[int, Field(ge=1, le=10 * 365 * 86400)] = 86400
    """Lifetime to ask for; the authority may give less. Unit: seconds."""
    renew_at: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Part of its life after which a certificate is replaced, give or take 1 %."""
    dir: Path = STATE / "identity"
    """Where key and certificates are kept, 0600, so that a restart without the authority works."""
    output_dir: Path | None = None
    """Where key.pem, cert-chain.pem and root-cert.pem are written for other programs, 0600."""
    socket: Path = Path("/var/run/secrets/workload-spiffe-uds/socket")
    """Somebody else's SDS."""
    alarm_s: Annotated[int, Field(ge=0)] = 6 * 3600
    """A certificate or token that ends sooner, and should have been replaced, is told as a
    problem. Unit: seconds."""


class Authority(Group):
    """The small certificate authority of sites without istiod."""

    dir: Path = STATE / "authority"
    """Its key and certificate; only the host that issues has the key."""
    listen: HostPort | Literal[""] = ""
    """ADDRESS:PORT where this host issues certificates to members by their tokens; empty: none."""
    ttl_s: Annotated[int, Field(ge=1, le=365 * 86400)] = 86400
    """Longest life of a certificate that it issues. Unit: seconds."""


class HttpGet(Group):
    """A probe that asks by HTTP; 200 to 399 is healthy."""

    path: str = "/"
    port: PortNumber
    host: str = ""
    """Empty: this VM's first address."""
    scheme: Literal["HTTP", "HTTPS"] = "HTTP"
    headers: Mapping[str, str] = {}


class TcpSocket(Group):
    """A probe that connects."""

    port: PortNumber
    host: str = ""


class Exec(Group):
    """A probe that runs a program; 0 is healthy."""

    command: Annotated[tuple[str, ...], Field(min_length=1)]


class Grpc(Group):
    """A probe by grpc.health.v1."""

    port: PortNumber
    service: str = ""


class Probe(Group):
    """How to tell whether this VM's service is fit, as in a WorkloadGroup (or a Pod): one of
    http, tcp, exec and grpc."""

    http: HttpGet | None = None
    tcp: TcpSocket | None = None
    exec: Exec | None = None
    grpc: Grpc | None = None
    initial_delay_s: Annotated[float, Field(ge=0)] = 0
    timeout_s: Annotated[float, Field(gt=0)] = 1
    period_s: Annotated[float, Field(gt=0)] = 10
    success_threshold: Annotated[int, Field(ge=1)] = 1
    failure_threshold: Annotated[int, Field(ge=1)] = 3

    @model_validator(mode="after")
    def _has_one_kind(self) -> Self:
        kinds = [kind for kind in ("http", "tcp", "exec", "grpc") if getattr(self, kind)]
        if len(kinds) != 1:
            raise ValueError("exactly one of http, tcp, exec and grpc")
        return self


class Workload(Group):
    """This VM's own entry in the mesh."""

    group: Label | Literal[""] = ""
    """WorkloadGroup (of node.namespace) that this VM registers with; empty: it does not."""
    entry: Path | None = None
    """File that the VM's own WorkloadEntry is kept in, where the mesh is made of files: in a folder
    of mesh.files that members share."""
    probe: Probe | None = None
    """null: the probe of the WorkloadGroup, where it has one."""
    startup: Probe | None = None
    """Probed first; the other begins when it has succeeded once."""
