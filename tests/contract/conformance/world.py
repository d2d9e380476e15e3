"""Where the suite happens: a VM with an agent, its resolver, endpoints, a peer and a container.

All hosts are on one switch, which is everybody's gateway too. The VM has a second uplink,
``eth1``, to the resolver's host, a tunnel to it, ``tun0``, and a bridge, ``br0``, with a
container behind it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path

from interceptor.host import command
from interceptor.lab import description
from interceptor.lab.description import Host, Served, World
from interceptor.lab.removal import wait_until
from interceptor.lab.world import SWITCH, Lab

MESH = Path(__file__).parent / "mesh"
SUFFIX = "bookinfo.svc.cluster.local"
ONE, TWO, SELF = f"one.{SUFFIX}", f"two.{SUFFIX}", f"self.{SUFFIX}"
VIPS = {ONE: ("10.96.0.21", "fd96::21"), TWO: ("10.96.0.22", "fd96::22")}
SELF_VIP = ("10.96.0.23", "fd96::23")
VM, PEER = ("10.77.0.10", "fd77::10"), ("10.77.0.70", "fd77::70")
UPSTREAM = ("198.51.100.66", "2001:db8:bad::66")
"""What the real resolver says of some mesh names: who gets this was not answered by us."""
SERVERS = ("10.77.0.53", "fd77::53")
FAR_SERVERS = ("198.18.0.53", "fd18::53")  # behind the gateway
ECHO_SERVERS = ("198.18.0.54", "fd18::54")  # there too; what is asked is what is answered
TUNNEL_SERVERS = ("10.89.0.53", "fd89::53")  # through a device without link-layer header
SECOND_SERVERS = ("10.88.0.53", "fd88::53")  # on the second uplink
DEAD_SERVERS = ("10.77.0.99", "fd77::99")  # on the link, but nobody bears the address
LOST_SERVERS = ("203.0.113.53", "2001:db8:dead::53")  # behind the gateway, and nobody there
STUB = "127.0.0.53"
WWW = ("10.77.0.61", "fd77::61")
POD = ("10.77.0.44", "fd77::44")  # of a headless service: a mesh address that really exists
ENDPOINT = ("10.77.0.41", "fd77::42")  # of `ONE` and `TWO`: not addresses of the mesh themselves
TELLER_PORTS = (7000, 7001, 7009, 7010)
VM_PORTS = (22, 3306, 7000, 7010, 8000, 15008)
TWELVE, FORTY = "twelve.mesh.example", "forty.mesh.example"
LONG = ".".join(("l" * 62, "o" * 62, "n" * 62, "g" * 46, "mesh.example"))
ZONES = {
    "zone.example": list(PEER),
    "deep.own.example": [PEER[1]],
    "dead.example": [DEAD_SERVERS[0], PEER[0]],
    "lost.example": [LOST_SERVERS[0], DEAD_SERVERS[0]],
    "99.198.in-addr.arpa": [PEER[0]],
}
"""Forward zones, and their servers: a dnsmasq on the peer, or nobody."""
ZONED = ("198.51.100.77", "2001:db8:77::1")  # what that says of the hosts it knows
ZONED_HOSTS = tuple(
    f"{name}.example" for name in ("a.zone", "open.zone", "x.deep.own", "a.dead", "host.zone")
)
DNS_RECORDS = (
    *description.RECORDS,
    *(
        f"host-record={host},{','.join(UPSTREAM)}"
        for host in (ONE, TWO, TWELVE, LONG, *ZONED_HOSTS)
    ),
    *(f"host-record={n}.numbered.example,10.77.0.61" for n in range(40)),
)
NAME_TABLE = {
    "table": {
        ONE: {
            "ips": list(VIPS[ONE]),
            "registry": "Kubernetes",
            "shortname": "one",
            "namespace": "bookinfo",
            "altHosts": ["another.name.example"],
        }
    }
}
"""What istiod would say of `ONE`, which has one more name there."""
LINKS = """
link add eth1 netns {vm} type veth peer name eth1 netns {dns}
link add br0 netns {vm} type bridge forward_delay 0 mcast_snooping 0
link add box netns {vm} type veth peer name eth0 netns {box}
"""
ON_VM = """
link set box master br0 up
link set br0 up
link set eth1 up
address add 10.88.0.10/24 dev eth1
address add fd88::10/64 dev eth1 nodad
address add 172.30.0.1/24 dev br0
address add fd30::1/64 dev br0 nodad
"""
ON_DNS = """
link set eth1 up
address add 10.88.0.53/24 dev eth1
address add fd88::53/64 dev eth1 nodad
address add 198.18.0.53/32 dev lo
address add fd18::53/128 dev lo nodad
address add 198.18.0.54/32 dev lo
address add fd18::54/128 dev lo nodad
"""
ON_BOX = """
link set lo up
link set eth0 up
address add 172.30.0.2/24 dev eth0
address add fd30::2/64 dev eth0 nodad
route add default via 172.30.0.1
route add default via fd30::1
"""
ON_SWITCH = """
route add 198.18.0.53/32 via 10.77.0.53
route add fd18::53/128 via fd77::53
route add 198.18.0.54/32 via 10.77.0.53
route add fd18::54/128 via fd77::53
"""
FORWARDING = """
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv4.icmp_msgs_per_sec=100000 net.ipv6.icmp.ratelimit=0
nft -f - <<'X'
table inet containers { chain post { type nat hook postrouting priority srcnat;
  iifname br0 oifname eth0 masquerade
}
}
X
"""


def describe() -> World:
    """The lab's hosts. On ``svc`` each backend has an address of its own; `serve` adds tellers."""
    backends = (41, 42, 43, 44, 54, 60, 61, 62)
    addresses = [address for number in backends for address in description.pair(number)]
    http = tuple(
        Served(name, port, tuple(address.ip for address in description.pair(number)))
        for name, port, number in (("reviews", 9080, 43), ("partner", 80, 60), ("www", 80, 61))
    )
    return World(
        gateways=description.pair(1),
        hosts=(
            Host("vm", description.pair(10), namespace="bookinfo", inbound_ports=(3306,)),
            Host("peer", description.pair(70)),
            Host("svc", (*description.pair(31), *addresses), http),
            Host("dns", description.pair(53), records=DNS_RECORDS),
        ),
        resolvers=tuple(address.ip for address in description.pair(53)),
        search=("corp.example",),
    )


def _entry(hosts: str, addresses: Iterable[str], endpoint: str = "10.77.0.41") -> dict[str, object]:
    name = hosts.replace("*", "any").replace(".", "-")[-60:].strip("-")
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": name, "namespace": "bookinfo"},
        "spec": {
            "hosts": [hosts],
            "addresses": list(addresses),
            "location": "MESH_EXTERNAL",
            "resolution": "STATIC",
            "ports": [{"number": 7000, "name": "tcp-tell", "protocol": "TCP"}],
            "endpoints": [{"address": endpoint}],
        },
    }


def entries() -> list[dict[str, object]]:
    """ServiceEntries: wildcards, single families, many addresses, long names, own zones."""
    many = [ip_address("192.0.2.128") + n for n in range(40)]
    many6 = [ip_address("2001:db8:40::") + n for n in range(1, 41)]
    return [
        _entry("api.partner.example", ("192.0.2.80", "2001:db8::80"), "10.77.0.60"),
        _entry("*.wild.example", ("192.0.2.90", "2001:db8::90")),
        _entry("*.deep.wild.example", ("192.0.2.91", "2001:db8::91")),
        _entry("exact.wild.example", ("192.0.2.92", "2001:db8::92")),
        _entry("only4.mesh.example", ("192.0.2.94",)),
        _entry("only6.mesh.example", ("2001:db8::94",)),
        _entry(LONG, ("192.0.2.95", "2001:db8::95")),
        _entry("a.b.own.example", ("192.0.2.96", "2001:db8::96")),
        _entry("auto.mesh.example", ()),
        _entry("host.zone.example", ("192.0.2.97",)),
        _entry("*.wild.zone.example", ("192.0.2.98",)),
        _entry("open.zone.example", ("192.0.2.0/28",)),  # no address: not ours to answer
        _entry(TWELVE, [str(each) for each in many[:12] + many6[:12]]),
        _entry(FORTY, [str(each) for each in many]),
    ]


def write_entries(folder: Path) -> None:
    """`entries` as documents among the mesh's others."""
    for number, entry in enumerate(entries()):
        (folder / f"entry-{number}.json").write_text(json.dumps(entry))


def dig_tunnel(lab: Lab) -> None:
    """``tun0`` of the VM and of the resolver's host."""
    argv = [sys.executable, "-m", "tests.contract.conformance.tunnel", lab.namespace("vm")]
    lab.start("dns", argv, "tunnel", detached=True)
    wait_until(lambda: "ready" in lab.log("dns", "tunnel"), "the tunnel")
    for host, number in (("vm", 10), ("dns", 53)):
        lines = f"""
link set tun0 up
address add 10.89.0.{number}/24 dev tun0
address add fd89::{number}/64 dev tun0 nodad
"""
        command.run(["ip", "-n", lab.namespace(host), "-batch", "-"], lines)


def wire(lab: Lab) -> None:
    """The second uplink, the bridge and the container, whose namespace goes with the lab."""
    box = lab.namespace("box")
    command.run(["ip", "netns", "add", box])
    names = {host: lab.namespace(host) for host in ("vm", "dns", "box")}
    command.run(["ip", "-batch", "-"], LINKS.format(**names))
    for host, lines in (("vm", ON_VM), ("dns", ON_DNS), (SWITCH, ON_SWITCH), ("box", ON_BOX)):
        command.run(["ip", "-n", lab.namespace(host), "-batch", "-"], lines)
    dig_tunnel(lab)
    lab.run("vm", ["sh", "-euc", FORWARDING])
    forward = "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1"
    command.run(["nsenter", f"--net=/run/netns/{lab.namespace(SWITCH)}", *forward.split()])


def serve(lab: Lab) -> None:
    """Tellers on the VM, the endpoints and the resolver's host; a stub resolver on the VM."""
    module = "tests.contract.conformance.teller"
    words = {"vm": VM_PORTS, "svc": TELLER_PORTS, "dns": (*TELLER_PORTS, *ECHO_SERVERS)}
    for host, ports in words.items():
        lab.start(host, [sys.executable, "-m", module, *map(str, ports)], "teller", detached=True)
    stub = ["dnsmasq", "--no-resolv", "--no-hosts", "--keep-in-foreground", "--pid-file="]
    stub += ["--conf-file=/dev/null", "--user=root", "--bind-interfaces", "--cache-size=0"]
    stub += [f"--listen-address={STUB}", f"--server={SERVERS[0]}"]
    lab.start("vm", stub, "stub", detached=True)
    zone = ["dnsmasq", "--no-resolv", "--no-hosts", "--keep-in-foreground", "--pid-file="]
    zone += ["--conf-file=/dev/null", "--user=root", "--bind-interfaces", "--local=/example/"]
    zone += [f"--listen-address={address}" for address in PEER]
    zone += [f"--host-record={host},{','.join(ZONED)}" for host in ZONED_HOSTS]
    zone += [f"--txt-record=big.zone.example,part-{n:02}-{'x' * 200}" for n in range(6)]
    zone += ["--ptr-record=1.0.99.198.in-addr.arpa,back.zone.example"]
    lab.start("peer", zone, "zone", detached=True)
    wait_until(lambda: f"{PEER[0]}:53" in lab.run("peer", ["ss", "-Hlun"]).stdout, "the zone")
    for host in ("vm", "svc", "dns"):
        wait_until(lambda host=host: "ready" in lab.log(host, "teller"), "teller")  # type: ignore[misc]
    wait_until(lambda: f"{STUB}:53" in lab.run("vm", ["ss", "-Hlun"]).stdout, "the stub")
