"""Where chaos happens: a VM with the agent, and its twin, which suffers the same without."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from interceptor.host import command
from interceptor.lab import agent as lab_agent
from interceptor.lab import description
from interceptor.lab.agent import Agent
from interceptor.lab.description import Host, World, backend
from interceptor.lab.removal import wait_until
from interceptor.lab.world import Lab
from tests.chaos import client, mesh

VM, TWIN, OUTSIDE = "vm", "twin", "svc"
RESOLVERS = (("10.77.0.53", "fd77::53"), ("10.77.0.54", "fd77::54"))
TELLER_PORTS = {VM: (client.SSH_PORT, client.INBOUND_PORT), OUTSIDE: (client.STREAM_PORT,)}
TMPFS = ("run", "state")
SIZE = "16m"
ONE_DEVICE = ("net.ipv4.conf.all.arp_ignore=1", "net.ipv4.conf.all.arp_announce=2")
"""A second uplink does not answer for the first one's address, and lose it when it is unplugged."""


def describe() -> World:
    """Two VMs of which one has no agent, backends, and two resolvers that say the same."""
    backends = (backend("reviews-v1", 9080, 41), backend("reviews-v2", 9080, 51))
    addresses = [each for number in (41, 51) for each in description.pair(number)]
    records = (*description.RECORDS, *mesh.RECORDS)
    return World(
        gateways=description.pair(1),
        hosts=(
            Host(VM, description.pair(10), namespace="bookinfo", inbound_ports=(8080,)),
            Host(TWIN, description.pair(11)),
            Host(OUTSIDE, (*description.pair(31), *addresses), backends),
            Host("dns", description.pair(53), records=records),
            Host("dns2", description.pair(54), records=records),
        ),
        resolvers=tuple(address.ip for address in description.pair(53)),
        search=("corp.example",),
    )


def render_resolv_conf(which: int) -> str:
    """resolv.conf with the first or the second resolver's addresses."""
    return "".join(f"nameserver {each}\n" for each in RESOLVERS[which]) + "search corp.example\n"


@dataclass
class Place:
    """One lab with an agent that is not started. ``resolv_conf`` is a link to a file."""

    lab: Lab
    agent: Agent
    resolv_conf: Path

    @property
    def folder(self) -> Path:
        return self.lab.host_folder(VM)


def prepare(lab: Lab, over: Mapping[str, object]) -> Place:
    """The agent's settings and documents, small file systems for its files, and tellers."""
    folder = lab.host_folder(VM)
    for name in TMPFS:
        (folder / name).mkdir(mode=0o755)
        options = f"size={SIZE},mode=755"
        command.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder / name)])
    for host in (VM, TWIN):
        lab.run(host, ["sysctl", "-qw", *ONE_DEVICE])
    target, link = folder / "resolv-0", folder / "resolv.conf"
    target.write_text(render_resolv_conf(0))
    link.symlink_to(target.name)
    documents = folder / "mesh"
    documents.mkdir(mode=0o755)
    (documents / "fixed.yaml").write_text(mesh.FIXED)
    (documents / "pool.yaml").write_text(mesh.render_pool(tuple(mesh.POOL_BACKENDS)))
    for number in range(mesh.HOSTS):
        (documents / f"h{number}.yaml").write_text(mesh.render_host(number, 0))
    settings = description.merge({"dns": {"resolv_conf": str(link)}}, over)
    one = lab_agent.prepare(lab, VM, settings, documents)
    for host, ports in TELLER_PORTS.items():
        module = "tests.contract.conformance.teller"
        argv = [sys.executable, "-m", module, *map(str, ports)]
        lab.start(host, argv, "teller", detached=True)
    for host in TELLER_PORTS:
        wait_until(lambda host=host: "ready" in lab.log(host, "teller"), "teller", 20)  # type: ignore[misc]
    return Place(lab, one, link)


def dismiss(lab: Lab) -> None:
    """Take the file systems away, whatever still holds them."""
    for name in TMPFS:
        command.run(["umount", "-l", str(lab.host_folder(VM) / name)], check=False)


def start_load(place: Place) -> dict[str, command.Process]:
    """The load's three parts, by their host."""
    roles = {VM: "vm", TWIN: "twin", OUTSIDE: "outside"}
    started = {}
    for host, role in roles.items():
        argv = [sys.executable, "-m", "tests.chaos.client", role, str(place.resolv_conf)]
        started[host] = place.lab.start(host, argv, "load", detached=True)
    for host in roles:
        wait_until(lambda host=host: "ready" in place.lab.log(host, "load"), "the load", 20)  # type: ignore[misc]
    return started
