"""What a lab consists of, as values: a switch, hosts on it, and what they serve. Pure.

All hosts are on one Ethernet segment, as VMs of one cloud network are. A
service host bears one address for each backend, so that each looks like a pod
or a VM of its own.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface


class Speech(enum.Enum):
    """What a backend speaks. ``TCP`` greets with its name as MySQL does, then echoes."""

    HTTP = "http"
    TCP = "tcp"


@dataclass(frozen=True, slots=True)
class Served:
    """One backend: it answers with ``name`` on ``port`` of each of ``addresses``."""

    name: str
    port: int
    addresses: tuple[Address, ...]
    speech: Speech = Speech.HTTP


@dataclass(frozen=True, slots=True)
class Host:
    """One namespace. ``addresses[0]`` of each family is its own, the rest are backends'."""

    name: str
    addresses: tuple[Interface, ...]
    services: tuple[Served, ...] = ()
    records: tuple[str, ...] = ()  # lines of dnsmasq's configuration; any makes it a DNS server
    namespace: str = ""  # mesh namespace of the agent; empty: no agent belongs here
    inbound_ports: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class World:
    """A whole lab. ``gateways`` are the switch's own addresses: everybody's default route."""

    gateways: tuple[Interface, ...]
    hosts: tuple[Host, ...]
    resolvers: tuple[Address, ...]
    search: tuple[str, ...] = ()

    def host(self, name: str) -> Host:
        """The host of that name. Raises KeyError, naming those there are."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise KeyError(f"no host {name}; there are {', '.join(h.name for h in self.hosts)}")


def pair(number: int) -> tuple[IPv4Interface, IPv6Interface]:
    """The lab's addresses with that last number: 10.77.0.31/24 and fd77::31/64 for 31."""
    return IPv4Interface(f"10.77.0.{number}/24"), IPv6Interface(f"fd77::{number}/64")


def backend(name: str, port: int, number: int, speech: Speech = Speech.HTTP) -> Served:
    """A backend on the lab's addresses with that last number."""
    return Served(name, port, tuple(interface.ip for interface in pair(number)), speech)


RECORDS = (
    "host-record=www.corp.example,10.77.0.61,fd77::61",
    "host-record=only4.corp.example,10.77.0.61",
    "txt-record=corp.example,v=spf1 -all",
    "mx-host=corp.example,mail.corp.example,10",
    "srv-host=_ldap._tcp.corp.example,www.corp.example,389,5,10",
    "cname=alias.corp.example,www.corp.example",
    # Too long for 512 bytes: whoever asks without EDNS has to come back over TCP.
    *(f"txt-record=big.corp.example,part-{n:02}-{'x' * 200}" for n in range(6)),
)


def default() -> World:
    """Two VMs, two service hosts and a DNS server: what the demo's mesh documents describe."""
    svc1 = (
        backend("reviews-v1", 9080, 41),
        backend("ratings-v1", 9080, 42),
        backend("details-v1", 9080, 43),
        backend("web-0", 8080, 44),
    )
    svc2 = (
        backend("reviews-v2", 9080, 51),
        backend("ratings-v2", 9080, 52),
        backend("web-1", 8080, 54),
        backend("partner-api", 80, 60),
        backend("www.corp.example", 80, 61),
        backend("wildcard", 80, 62),
    )
    return World(
        gateways=pair(1),
        hosts=(
            Host("vm", pair(10), namespace="bookinfo"),
            Host("vm2", pair(20), (local("mysql-vm2", 3306),), (), "vm", (3306,)),
            Host("svc1", _with_backends(31, svc1), svc1),
            Host("svc2", _with_backends(32, svc2), svc2),
            Host("dns", pair(53), records=RECORDS),
        ),
        resolvers=tuple(interface.ip for interface in pair(53)),
        search=("corp.example",),
    )


def local(name: str, port: int) -> Served:
    """The second VM's application: bound to all addresses, as an unchanged mysqld is."""
    return Served(name, port, (IPv4Address("0.0.0.0"), IPv6Address("::")), Speech.TCP)


def _with_backends(number: int, services: tuple[Served, ...]) -> tuple[Interface, ...]:
    extra: list[Interface] = []
    for served in services:
        for address in served.addresses:
            length = 24 if address.version == 4 else 64
            extra.append(
                IPv4Interface((address, length))
                if isinstance(address, IPv4Address)
                else IPv6Interface((address, length))
            )
    return (*pair(number), *extra)


def render_resolv_conf(world: World) -> str:
    """resolv.conf(5) of every host."""
    lines = [f"nameserver {address}" for address in world.resolvers]
    if world.search:
        lines.append("search " + " ".join(world.search))
    return "\n".join(lines) + "\n"


def render_dnsmasq(host: Host, log: str) -> str:
    """dnsmasq's configuration: authoritative for the records, NXDOMAIN for all else."""
    return "\n".join(
        (
            "no-resolv",
            "no-hosts",
            "pid-file=",
            "user=root",
            "group=root",
            "keep-in-foreground",
            "cache-size=0",
            "local-ttl=60",
            "log-queries",
            f"log-facility={log}",
            "local=/#/",
            *host.records,
            "",
        )
    )


def render_switch(world: World) -> str:
    """`ip -batch` of the switch's namespace: a bridge with the gateway's addresses.

    Snooping would hold back neighbour discovery until the bridge has seen
    reports; with ``forward_delay 0`` a port forwards at once.
    """
    lines = [
        "link set lo up",
        "link add br0 type bridge forward_delay 0 mcast_snooping 0",
        *(_render_address(address, "br0") for address in world.gateways),
        "link set br0 up",
    ]
    return "\n".join(lines) + "\n"


def render_cable(host: Host, namespace: str) -> str:
    """`ip -batch` of the switch's namespace: the host's eth0, plugged into the bridge."""
    return (
        f"link add {host.name} type veth peer name eth0 netns {namespace}\n"
        f"link set {host.name} master br0 up\n"
    )


def render_host(world: World, host: Host) -> str:
    """`ip -batch` of the host's namespace: its addresses and default routes."""
    lines = ["link set lo up", "link set eth0 up"]
    lines += [_render_address(address, "eth0") for address in host.addresses]
    own = {address.version: address.ip for address in reversed(host.addresses)}
    lines += [
        f"route add default via {gateway.ip} dev eth0 src {own[gateway.version]}"
        for gateway in world.gateways
        if gateway.version in own
    ]
    return "\n".join(lines) + "\n"


def _render_address(address: Interface, device: str) -> str:
    """Without duplicate detection, which would keep an IPv6 address tentative for a second."""
    nodad = " nodad" if address.version == 6 else ""
    return f"address add {address} dev {device}{nodad}"


def agent_settings(host: Host, folder: str, mesh: str, cgroup: str) -> dict[str, object]:
    """The configuration file of an agent on ``host``, as a tree for YAML.

    ``folder`` is the host's own (state and sockets), ``mesh`` the documents', ``cgroup`` the
    host's below the mount of cgroup2.
    """
    own = {address.version: str(address.ip) for address in reversed(host.addresses)}
    return {
        "node": {
            "name": host.name,
            "namespace": host.namespace,
            "addresses": [own[version] for version in sorted(own)],
        },
        "mesh": {"files": [mesh], "state_dir": f"{folder}/state"},
        "identity": {"dir": f"{folder}/state/identity"},
        "authority": {"dir": f"{folder}/state/authority"},
        "capture": {
            "backend": "auto",
            "cgroup": cgroup,
            "inbound": {"ports": list(host.inbound_ports)},
        },
        "agent": {"run_dir": f"{folder}/run", "drain_s": 1.0},
        "sidecar": {"concurrency": 1},
        "log": {"format": "json"},
    }


def merge(base: Mapping[str, object], over: Mapping[str, object]) -> dict[str, object]:
    """``base`` with the keys of ``over`` laid over it, group by group."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[key] = merge(below, value)
        else:
            merged[key] = value
    return merged
