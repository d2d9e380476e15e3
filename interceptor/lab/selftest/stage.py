"""What stands in the namespaces of the self-tests: two hosts, a mesh of two services, settings."""

from __future__ import annotations

from collections.abc import Mapping

from interceptor.lab import description
from interceptor.lab.description import Host, World

VM, FAR = description.pair(10), description.pair(31)
NAMES = ("one.doctor.example", "two.doctor.example")
VIPS = (("10.96.77.1", "fd96:77::1"), ("10.96.77.2", "fd96:77::2"))
"""Of each name, IPv4 and IPv6."""
OTHER = "somebody.else.example"
STUB = "127.0.0.53"
PORT, INBOUND_PORT, DIRECT_PORT = 7000, 7002, 7001
OUTBOUND, INBOUND, DNS = 15001, 15006, 53
SIDECAR_ID = 1337
UPSTREAM = {1: "198.51.100.66", 28: "2001:db8:bad::66"}
"""What the resolver itself says of a mesh name, by record type: whoever gets it was not answered
by us."""
LIFE_S = 60
"""How long a server of a self-test lives at most, whatever becomes of its doctor."""


def describe(*, ipv6: bool) -> World:
    """The hosts; without IPv6 where the kernel has none."""
    count = 2 if ipv6 else 1
    gateways, vm, far = description.pair(1)[:count], VM[:count], FAR[:count]
    return World(
        gateways=gateways,
        hosts=(
            Host("vm", vm, namespace="doctor", inbound_ports=(INBOUND_PORT,)),
            Host("far", far),
        ),
        resolvers=tuple(each.ip for each in far),
    )


def documents() -> list[dict[str, object]]:
    """The mesh: a ServiceEntry for each name."""
    return [
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "ServiceEntry",
            "metadata": {"name": f"doctor-{number}", "namespace": "doctor"},
            "spec": {
                "hosts": [name],
                "addresses": list(vips),
                "location": "MESH_EXTERNAL",
                "resolution": "STATIC",
                "ports": [{"number": PORT, "name": "tcp", "protocol": "TCP"}],
                "endpoints": [{"address": str(FAR[0].ip)}],
            },
        }
        for number, (name, vips) in enumerate(zip(NAMES, VIPS, strict=True))
    ]


def settings(backend: str, dns_backend: str, agent_cgroup: str) -> Mapping[str, object]:
    """Laid over the lab's: somebody else's sidecar, in a cgroup that the programs know."""
    return {
        "capture": {"backend": backend},
        "dns": {"backend": dns_backend},
        "sidecar": {"mode": "external"},
        "agent": {"drain_s": 0, "cgroup": agent_cgroup},
    }
