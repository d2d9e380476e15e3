"""The DNS servers of Debian that are measured against, each with the same names. Pure.

Every one has one thread, no cache in front of what it knows, and nothing on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

ZONE = "bench.svc.cluster.local"
PATTERN = f"host-######.{ZONE}"
FIRST = IPv4Address("10.96.1.0")
TTL_S = 30
OTHER = "www.corp.example"
OTHER_ADDRESS = IPv4Address("10.77.0.61")


def name(number: int) -> str:
    """The name with that number, as the load generator spells it."""
    return f"host-{number:06}.{ZONE}"


def address(number: int) -> IPv4Address:
    """What that name stands for."""
    return FIRST + number


def names(count: int) -> list[tuple[str, IPv4Address]]:
    """All of them."""
    return [(name(number), address(number)) for number in range(count)]


@dataclass(frozen=True, slots=True)
class Peer:
    """A server. ``argv`` with ``{}`` for the configuration; ``render`` makes its files, the
    first of which is that, from the folder, the address with the port, and the count."""

    argv: Sequence[str]
    render: Callable[[str, IPv4Address, int, int], Mapping[str, str]]


def render_dnsmasq(folder: str, listen: IPv4Address, port: int, count: int) -> dict[str, str]:
    """dnsmasq's, the names in a hosts file: by their number it sizes its hash table, which it
    does not for host records (300 µs a query with 100,000 of them)."""
    lines = [
        "no-resolv",
        "no-hosts",
        "pid-file=",
        "user=root",
        "keep-in-foreground",
        f"port={port}",
        f"listen-address={listen}",
        "bind-interfaces",
        f"local-ttl={TTL_S}",
        f"addn-hosts={folder}/hosts",
        "",
    ]
    hosts = "".join(f"{found} {host}\n" for host, found in names(count))
    return {"dnsmasq.conf": "\n".join(lines), "hosts": hosts}


def render_unbound(folder: str, listen: IPv4Address, port: int, count: int) -> dict[str, str]:
    """unbound's, the names as a static local zone."""
    lines = [
        "server:",
        '  directory: ""',
        '  chroot: ""',
        '  username: ""',
        '  pidfile: ""',
        "  use-syslog: no",
        "  do-daemonize: no",
        "  num-threads: 1",
        f"  interface: {listen}@{port}",
        "  access-control: 0.0.0.0/0 allow",
        f'  local-zone: "{ZONE}." static',
    ]
    lines += [f'  local-data: "{host}. {TTL_S} IN A {found}"' for host, found in names(count)]
    lines += ["remote-control:", "  control-enable: no"]
    return {"unbound.conf": "\n".join(lines) + "\n"}


def render_nsd(folder: str, listen: IPv4Address, port: int, count: int) -> dict[str, str]:
    """nsd's, with a zone beside for a name that is not the mesh's."""
    lines = [
        "server:",
        f"  ip-address: {listen}@{port}",
        "  do-ip6: no",
        "  server-count: 1",
        "  rrl-ratelimit: 0",
        '  chroot: ""',
        '  username: ""',
        '  database: ""',
        '  pidfile: ""',
        f'  zonesdir: "{folder}"',
        f'  zonelistfile: "{folder}/zone.list"',
        f'  xfrdfile: "{folder}/xfrd.state"',
        f'  xfrdir: "{folder}"',
        "remote-control:",
        "  control-enable: no",
    ]
    for zone in zones(count):
        lines += ["zone:", f'  name: "{zone}"', f'  zonefile: "{zone}.zone"']
    return {"nsd.conf": "\n".join(lines) + "\n", **_zone_files(count)}


def render_knot(folder: str, listen: IPv4Address, port: int, count: int) -> dict[str, str]:
    """knot's, with the same zones."""
    lines = [
        "server:",
        f"  rundir: {folder}",
        f"  listen: {listen}@{port}",
        "  udp-workers: 1",
        "  tcp-workers: 1",
        "  background-workers: 1",
        "database:",
        f"  storage: {folder}",
        "template:",
        "- id: default",
        f"  storage: {folder}",
        "  zonefile-sync: -1",
        "  zonefile-load: whole",
        "  journal-content: none",
        '  file: "%s.zone"',
        "zone:",
    ]
    lines += [f"- domain: {zone}" for zone in zones(count)]
    return {"knot.conf": "\n".join(lines) + "\n", **_zone_files(count)}


def zones(count: int) -> dict[str, list[tuple[str, IPv4Address]]]:
    """Zone → its names; the mesh's is there only where it has any."""
    other = {OTHER.partition(".")[2]: [(OTHER, OTHER_ADDRESS)]}
    return {ZONE: names(count), **other} if count else other


def _zone_files(count: int) -> dict[str, str]:
    """RFC 1035 section 5."""
    return {
        f"{zone}.zone": "\n".join(
            [
                f"$ORIGIN {zone}.",
                f"$TTL {TTL_S}",
                "@ SOA ns.invalid. hostmaster.invalid. 1 3600 600 86400 30",
                "@ NS ns.invalid.",
                *(f"{host}. A {found}" for host, found in hosts),
                "",
            ]
        )
        for zone, hosts in zones(count).items()
    }


PEERS = {
    "dnsmasq": Peer(("dnsmasq", "--conf-file={}"), render_dnsmasq),
    "unbound": Peer(("unbound", "-d", "-c", "{}"), render_unbound),
    "nsd": Peer(("nsd", "-d", "-c", "{}"), render_nsd),
    "knot": Peer(("knotd", "-c", "{}"), render_knot),
}
