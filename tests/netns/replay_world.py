"""A VM with an agent and a recorder for its sidecar, and a peer that is everybody else."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from interceptor.host import command, probe
from interceptor.lab import agent as lab_agent
from interceptor.lab import description, removal
from interceptor.lab.agent import Agent
from interceptor.lab.description import Host, World
from interceptor.lab.removal import wait_until
from interceptor.lab.world import PACKAGE_ROOT, SWITCH, Lab

WORLD = World(
    gateways=description.pair(1),
    hosts=(
        Host("vm", description.pair(10), namespace="bookinfo"),
        Host("peer", description.pair(70)),
    ),
    resolvers=(ip_address("10.77.0.70"),),
    search=("corp.example",),
)
ON_VM = """
ip route replace default via 10.77.0.70 dev eth0 src 10.77.0.10
ip -6 route replace default via fd77::70 dev eth0 src fd77::10
sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv4.icmp_msgs_per_sec=100000 net.ipv6.icmp.ratelimit=0
"""
ON_PEER = """
ip addr add 10.77.0.41/24 dev eth0
for net in 240.240.0.0/16 192.0.2.0/24 198.51.100.0/24 203.0.113.0/24 10.96.0.0/16 198.18.0.0/15
do ip route add local $net dev lo; done
for net in 2001:2::/48 2001:db8::/32 fd96::/64 fd18::/64
do ip -6 route add local $net dev lo; done
nft -f - <<'X'
table inet peer { chain pre { type nat hook prerouting priority -100;
  iifname eth0 meta l4proto tcp tcp dport != 53 redirect to :9999
}
}
X
"""
SETTINGS = {
    "capture": {
        "outbound": {
            "cidrs": ["203.0.113.0/24", "2001:db8:9::/48"],
            "exclude_cidrs": ["203.0.113.128/25", "2001:db8:9:1::/64"],
            "ports": [8088],
            "exclude_ports": [25],
        },
        "inbound": {"ports": [3306, 8000, 9080]},
        "owners": {"exclude_uids": [1001]},
    },
    "dns": {"own_zones": ["own.example"]},
    "sidecar": {"mode": "external"},
}
OTHER = {"outbound": {"exclude_ports": [25, 9080], "ports": [8088, 443]}}
"""Of the configuration that is compared with it."""


def _entry(name: str, *addresses: str) -> dict[str, object]:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {
            "name": name.replace("*", "any").replace(".", "-")[-60:],
            "namespace": "bookinfo",
        },
        "spec": {
            "hosts": [name],
            "addresses": list(addresses),
            "resolution": "STATIC",
            "ports": [{"number": 3306, "name": "tcp-db", "protocol": "TCP"}],
            "endpoints": [{"address": "10.77.0.70"}],
        },
    }


def _service(name: str, spec: dict[str, object]) -> dict[str, object]:
    port = {"name": "http", "port": 9080}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "bookinfo"},
        "spec": {"ports": [port], **spec},
    }


def documents() -> list[dict[str, object]]:
    """A mesh with one host of every kind."""
    many = [str(ip_address("192.0.2.100") + n) for n in range(40)]
    two = ["10.96.0.11", "fd96::11"]
    return [
        _service("reviews", {"clusterIP": two[0], "clusterIPs": two}),
        _service("pods", {"clusterIP": "None"}),
        _service("ext", {"type": "ExternalName", "externalName": "www.corp.example"}),
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "pods-1",
                "namespace": "bookinfo",
                "labels": {"kubernetes.io/service-name": "pods"},
            },
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 9080}],
            "endpoints": [{"addresses": ["10.77.0.41"], "conditions": {"ready": True}}],
        },
        _entry("db.mesh.example", "192.0.2.1", "2001:db8::1"),
        _entry("six.mesh.example", "2001:db8::6"),
        _entry("auto.mesh.example"),
        _entry("*.wild.example", "192.0.2.9"),
        _entry("exact.wild.example", "192.0.2.8"),
        _entry("many.mesh.example", *many),
        _entry("cidr.mesh.example", "198.51.100.0/25"),
        _entry("a.b.own.example", "192.0.2.7"),
        _entry(".".join(("l" * 62, "o" * 62, "mesh.example")), "192.0.2.6"),
    ]


@dataclass(frozen=True, slots=True)
class Place:
    """The world with a running agent of one back end."""

    lab: Lab
    agent: Agent
    folder: Path

    def replay(self, capture: Path, *words: str, code: int = 0) -> list[dict[str, object]]:
        """What `replay --json` prints on the VM, by an unprivileged user."""
        argv = [*lab_agent.UNPRIVILEGED, "env", f"PYTHONPATH={PACKAGE_ROOT}"]
        argv += self.agent.argv("replay", str(capture), "--json", *words)
        done = self.lab.run("vm", argv, check=False, timeout_s=120)
        assert done.code == code, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


@contextmanager
def opened(backend: str) -> Iterator[Place]:
    """The world; an agent of that back end runs, and recorders stand in for the sidecar."""
    with Lab.open(WORLD) as lab:
        lab.run("vm", ["sh", "-euc", ON_VM])
        lab.run("peer", ["sh", "-euc", ON_PEER])
        mesh = lab.folder / "mesh"
        mesh.mkdir(mode=0o755)
        for number, document in enumerate(documents()):
            (mesh / f"{number}.json").write_text(json.dumps(document))
        cgroup = removal.cgroup(lab.token, "vm") / "interceptor"
        cgroup.mkdir()
        below = f"/{cgroup.relative_to(probe.cgroup_mount())}"
        over = {"capture": {"backend": backend}, "agent": {"cgroup": below, "drain_s": 0}}
        agent = lab_agent.prepare(lab, "vm", description.merge(SETTINGS, over), mesh)
        try:
            agent.start(timeout_s=120)
            assert f"backend: {backend} [" in agent.log()
            for host, who in (("peer", "peer"), ("vm", "sidecar")):
                _serve(lab, host, who, cgroup)
            yield Place(lab, agent, lab.folder)
        finally:
            agent.stop()


def _serve(lab: Lab, host: str, who: str, cgroup: Path) -> None:
    """The sidecar's is in its cgroup, or the programs would not tell it destinations."""
    argv = [sys.executable, "-m", "tests.netns.replay_server", who]
    if who == "sidecar":
        argv = ["sh", "-euc", f'echo 0 >{cgroup}/cgroup.procs; exec "$@"', "sh", *argv]
    lab.start(host, argv, who, detached=True)
    wait_until(lambda: "ready" in lab.log(host, who), who, 60)


def switch(lab: Lab, argv: list[str]) -> command.Process:
    """A program on the switch, where every packet of the VM's uplink passes."""
    return command.start(["nsenter", f"--net=/run/netns/{lab.namespace(SWITCH)}", *argv])
