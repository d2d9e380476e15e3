"""A service on one VM falls ill and gets well again, while another VM calls it all the time."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from interceptor.host import command
from interceptor.lab import agent as lab_agent
from interceptor.lab import caller
from interceptor.lab.agent import Agent
from interceptor.lab.caller import Call
from interceptor.lab.removal import wait_until
from interceptor.lab.world import Lab

pytestmark = [pytest.mark.root, pytest.mark.envoy]

URL = "http://shop.mesh.internal:8080/"
OTHER = "10.77.0.44"  # web-0 of the lab, at the same port
DOCUMENTS = f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: shop, namespace: vm}}
spec:
  hosts: [shop.mesh.internal]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 8080, name: http, protocol: HTTP}}]
  workloadSelector: {{labels: {{app: shop}}}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: other, namespace: vm, labels: {{app: shop}}}}
spec: {{address: {OTHER}}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {{name: shop, namespace: vm}}
spec:
  metadata: {{labels: {{app: shop}}}}
  template: {{ports: {{http: 8080}}}}
  probe:
    httpGet: {{path: /health, port: 8080}}
    periodSeconds: 1
    timeoutSeconds: 20
    failureThreshold: 2
"""
LATE_S = 60.0
TRAFFIC_S = 600.0


@dataclass(frozen=True, slots=True)
class Mesh:
    """``vm`` calls, ``vm2`` serves ``pages``, among them its health."""

    vm: Agent
    vm2: Agent
    pages: Path
    calling: command.Process

    @property
    def entry(self) -> Path:
        return self.vm2.mesh / "vm2.yaml"

    def calls(self) -> tuple[Call, ...]:
        return caller.decode(self.vm.lab.log("vm", "caller"))

    def answers(self, since_s: float) -> set[str]:
        return {call.answer for call in self.calls() if call.at_s > since_s}

    def served(self) -> str:
        """What vm2's application has logged: who asked for what."""
        return self.vm2.lab.log("vm2", "shop")

    def health(self) -> Any:
        status = cast("dict[str, Any]", self.vm2.read("status"))
        return status["workload"]["health"]


def settings(backend: str, **workload: object) -> dict[str, object]:
    inbound = {"ports": [8080]}
    return {"capture": {"backend": backend, "inbound": inbound}, "workload": workload}


ONE = pytest.mark.parametrize("mesh", ["nftables"], indirect=True)
EVERY = pytest.mark.parametrize("mesh", ["nftables", "ebpf"], indirect=True)


@pytest.fixture(scope="module")
def mesh(request: pytest.FixtureRequest) -> Iterator[Mesh]:
    with Lab.open() as lab:
        folder = lab_agent.copy_mesh(lab.folder / "mesh")
        (folder / "shop.yaml").write_text(DOCUMENTS)
        pages = lab.host_folder("vm2") / "pages"
        pages.mkdir()
        (pages / "index.html").write_text("vm2\n")
        serve = [sys.executable, "-m", "http.server", "8080", "--directory", str(pages)]
        lab.start("vm2", serve, "shop", detached=True)
        elsewhere = {"http": {"port": 8080, "host": OTHER}, "period_s": 0.5, "timeout_s": 20}
        vm = lab_agent.prepare(lab, "vm", settings(request.param, probe=elsewhere), folder)
        mine = settings(request.param, group="shop", entry=str(folder / "vm2.yaml"))
        found: dict[str, object] = {"node": {"addresses": []}}  # by its routes
        vm2 = lab_agent.prepare(lab, "vm2", mine | found, folder)
        for one in (vm, vm2):
            one.launch()
        for one in (vm, vm2):
            one.wait_ready(2 * LATE_S)
        argv = [sys.executable, "-m", caller.__name__, URL, str(TRAFFIC_S)]
        calling = lab.start("vm", argv, "caller")
        yield Mesh(vm, vm2, pages, calling)
        calling.stop()
        vm2.stop()
        vm.stop()


@ONE
def test_a_service_that_is_not_fit_yet_is_registered_and_gets_no_calls(mesh: Mesh) -> None:
    wait_until(lambda: mesh.health()["state"] == "unhealthy", "its first verdict", LATE_S)
    document = yaml.safe_load(mesh.entry.read_text())
    assert document["metadata"]["name"] == "shop-10.77.0.20"
    assert document["spec"]["address"] == "10.77.0.20"
    (condition,) = document["status"]["conditions"]
    assert (condition["type"], condition["status"]) == ("Healthy", "False")
    assert "HTTP 404" in condition["message"]
    wait_until(lambda: bool(mesh.calls()), "the first call", LATE_S)
    assert mesh.answers(0) == {"web-0"}
    shown = mesh.vm2.run("mesh", "show", "shop.mesh.internal").stdout
    assert "10.77.0.20:8080  weight 1  not ready" in shown


@ONE
def test_it_gets_its_share_when_it_is_fit_and_none_when_it_is_not(mesh: Mesh) -> None:
    health = mesh.pages / "health"
    health.write_text("fine")
    began_s = time.monotonic()
    wait_until(lambda: "vm2" in mesh.answers(began_s), "calls to vm2", LATE_S)
    health.unlink()
    wait_until(lambda: mesh.health()["state"] == "unhealthy", "its verdict", LATE_S)
    time.sleep(1)
    gone_s = time.monotonic()
    time.sleep(0.5)
    assert mesh.answers(gone_s) == {"web-0"}
    assert caller.failures(mesh.calls()) == ()


@ONE
def test_the_entry_follows_the_address_that_this_vm_uses(mesh: Mesh) -> None:
    def use(address: str) -> None:
        route = ["ip", "route", "replace", "default", "via", "10.77.0.1", "dev", "eth0", "src"]
        mesh.vm2.lab.run("vm2", [*route, address])

    mesh.vm2.lab.run("vm2", ["ip", "addr", "add", "10.77.0.21/24", "dev", "eth0"])
    use("10.77.0.21")
    wait_until(lambda: "address: 10.77.0.21" in mesh.entry.read_text(), "its address", LATE_S)
    assert "name: shop-10.77.0.21" in mesh.entry.read_text()
    use("10.77.0.20")
    wait_until(lambda: "address: 10.77.0.20" in mesh.entry.read_text(), "the old one", LATE_S)


@EVERY
def test_probes_pass_the_rules_and_calls_do_not(mesh: Mesh) -> None:
    """vm probes an address that is captured there; vm2 its own port, captured inbound."""
    wait_until(lambda: '"GET /health' in mesh.served(), "a probe", LATE_S)
    assert not [line for line in mesh.vm2.access_log() if "/health" in line]
    lines = [line for line in mesh.served().splitlines() if "/health" in line]
    assert {line.split()[0] for line in lines} == {"127.0.0.6"}
    mesh.calling.stop()
    wait_until(lambda: _is_still(mesh.vm), "the caller's last lines", LATE_S)
    before = mesh.vm.access_log()
    time.sleep(1.5)  # three probes
    status = cast("dict[str, Any]", mesh.vm.read("status"))
    assert status["workload"]["health"]["state"] == "healthy"
    assert mesh.vm.access_log() == before
    mesh.vm.lab.run("vm", ["curl", "-sS", "-m", "20", f"http://{OTHER}:8080/"])
    wait_until(lambda: len(mesh.vm.access_log()) > len(before), "a call's line", LATE_S)


def _is_still(agent: Agent) -> bool:
    """Envoy flushes its log each second."""
    before = agent.access_log()
    time.sleep(1.2)
    return agent.access_log() == before


@ONE
def test_an_agent_that_is_stopped_takes_its_entry_back_and_no_call_fails(mesh: Mesh) -> None:
    (mesh.pages / "health").write_text("fine")
    wait_until(lambda: mesh.health()["state"] == "healthy", "its verdict", LATE_S)
    assert mesh.entry.exists()
    argv = [sys.executable, "-m", caller.__name__, URL, str(TRAFFIC_S)]
    calling = mesh.vm.lab.start("vm", argv, "last")
    last = mesh.vm.lab.host_folder("vm") / "last.log"
    wait_until(lambda: last.exists() and " vm2\n" in last.read_text(), "calls to vm2", LATE_S)
    mesh.vm2.stop()
    assert not mesh.entry.exists()
    time.sleep(0.5)
    calling.stop()
    calls = caller.decode(last.read_text())
    assert caller.failures(calls) == ()
    assert {call.answer for call in calls[-10:]} == {"web-0"}
