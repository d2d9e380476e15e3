"""One lab for all of these tests: a VM with the agent, istiod, two hosts of services."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from interceptor.lab import agent as lab_agent
from interceptor.lab import description
from interceptor.lab.agent import Agent
from interceptor.lab.description import Host, World, backend, pair
from interceptor.lab.world import Lab
from tests.interop import plane
from tests.interop.plane import Plane

NUMBER = 70  # istiod's address


def world() -> World:
    """The agent's VM serves something as well, by which it registers."""
    v1, v2 = backend("reviews-v1", 9080, 41), backend("reviews-v2", 9080, 42)
    own = description.local("mysql-vm", 3306)
    return World(
        gateways=pair(1),
        hosts=(
            Host("vm", pair(10), (own,), namespace="vm", inbound_ports=(3306,)),
            Host("cp", pair(NUMBER)),
            Host("svc1", (*pair(31), *pair(41)), (v1,)),
            Host("svc2", (*pair(32), *pair(42)), (v2,)),
            Host("dns", pair(53), records=description.RECORDS),
        ),
        resolvers=tuple(interface.ip for interface in pair(53)),
        search=("corp.example",),
    )


@dataclass(frozen=True, slots=True)
class Site:
    """The lab, who controls it, and its member."""

    lab: Lab
    plane: Plane
    agent: Agent

    def sh(self, text: str, host: str = "vm") -> str:
        """What a shell script on a host prints."""
        return self.lab.run(host, ["sh", "-c", text], check=False, timeout_s=60).stdout.strip()


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """With istiod up, the VM's group in the API, and the agent not started."""
    with Lab.open(world()) as lab:
        control = Plane(lab, "cp", plane.programs())
        control.open()
        folder = lab.host_folder("vm")
        (folder / "root-cert.pem").write_text(control.root_cert())
        token = folder / "istio-token"
        token.write_text(control.token("vm", "default"))
        token.chmod(0o600)
        over = {
            "mesh": {
                "source": "istiod",
                "istiod": {
                    "addresses": [f"{pair(NUMBER)[0].ip}:{plane.PORT}"],
                    "server_name": plane.SERVER_NAME,
                    "root_cert": str(folder / "root-cert.pem"),
                    "token": str(token),
                },
            },
            "node": {"labels": {"app": "mysql"}},
            "identity": {"dir": f"{folder}/identity", "output_dir": f"{folder}/out"},
            "workload": {
                "group": "mysql",
                "probe": {"exec": {"command": ["test", "-e", f"{folder}/fit"]}, "period_s": 1},
            },
        }
        yield Site(lab, control, lab_agent.prepare(lab, "vm", over))
