"""A real Envoy that a control plane configures through us."""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from interceptor.sidecar.admin import Admin

pytestmark = [pytest.mark.root, pytest.mark.envoy]

CLONE_NEWNET = 0x40000000
ROOT = Path(__file__).parents[2]
ADDRESS = "10.77.0.1:15010"  # the VM's, so that an Envoy elsewhere can ask there directly
NODE = "sidecar~10.77.0.1~{}.shop~shop.svc.cluster.local"
VIP = "10.96.0.20"
REQUESTS = 2_000
PATIENCE_S = 60
LDS = "type.googleapis.com/envoy.config.listener.v3.Listener"


def entry(name: str, vip: str, endpoint: str, port: int = 8080) -> str:
    return json.dumps(
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "ServiceEntry",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {
                "hosts": [f"{name}.test"],
                "addresses": [vip],
                "ports": [{"number": 80, "name": "tcp", "protocol": "TCP"}],
                "resolution": "STATIC",
                "endpoints": [{"address": endpoint, "ports": {"tcp": port}}],
            },
        }
    )


def until(is_so: Callable[[], bool], what: str = "", timeout_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.01)


class Plane:
    """The tests' control plane as a program in a namespace, which can be killed."""

    def __init__(self, namespace: str, folder: Path) -> None:
        self.namespace, self.folder = namespace, folder
        self.record = folder.parent / "record"
        self.child: subprocess.Popen[str] | None = None
        folder.mkdir()

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        fresh = path.with_name(f".{path.name}")
        fresh.write_text(text)
        fresh.rename(path)

    def start(self) -> None:
        program = [sys.executable, "-m", "tests.controlplane"]
        files = ["--folder", str(self.folder), "--record", str(self.record)]
        self.child = subprocess.Popen(
            ["ip", "netns", "exec", self.namespace, *program, *files, "--listen", ADDRESS],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.child.stdout is not None
        assert self.child.stdout.readline().startswith("ready")

    def kill(self) -> None:
        if self.child is not None:
            os.kill(self.child.pid, signal.SIGKILL)
            self.child.wait()
            assert self.child.stdout is not None
            self.child.stdout.close()
            self.child = None

    def lines(self, what: str, **like: Any) -> list[dict[str, Any]]:
        if not self.record.exists():
            return []
        whole = self.record.read_text().rpartition("\n")[0]  # the last may be half written
        found = [json.loads(line) for line in whole.splitlines()]
        return [
            line for line in found
            if line["what"] == what and all(line.get(key) == like[key] for key in like)
        ]  # fmt: skip


@pytest.fixture(scope="module")
def servers(net):
    return net.serve(
        net.far, "http:h1:8080:10.77.0.2", "http:h2:8080:10.77.0.3", "http:h3:8080:10.77.0.4"
    )


@pytest.fixture
def plane(net, servers, tmp_path) -> Iterator[Plane]:
    made = Plane(net.vm, tmp_path / "mesh")
    made.write("web.json", entry("web", VIP, "10.77.0.2"))
    try:
        made.start()
        yield made
    finally:
        made.kill()


class Member:
    """A VM of that control plane's, agent by agent."""

    def __init__(self, world: Any, text: str) -> None:
        self.world = world
        self.node_id = NODE.format("vm-1")
        self.admin = Admin(world.files.admin)
        self._file = world.run_dir / "member.yaml"
        self._file.write_text(text)
        self._child: subprocess.Popen[str] | None = None
        self._has_begun = False

    def open(self, live_s: float = 30) -> dict[str, Any]:
        """An agent begins, and Envoy is live or adopted."""
        program = [sys.executable, "-m", "tests.envoy.relay_agent", str(self._file), self.node_id]
        self._child = subprocess.Popen(
            ["ip", "netns", "exec", self.world.net.vm, *program, str(live_s)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._has_begun = True
        return self._answer()

    def _answer(self) -> Any:
        assert self._child is not None
        assert self._child.stdout is not None
        return json.loads(self._child.stdout.readline())

    def _order(self, order: str) -> Any:
        assert self._child is not None
        assert self._child.stdin is not None
        self._child.stdin.write(f"{order}\n")
        self._child.stdin.flush()
        return self._answer()

    def status(self) -> Any:
        return self._order("status")

    def _end(self, order: str) -> None:
        assert self._order(order) == "over"
        assert self._child is not None
        self._child.communicate(timeout=30)
        self._child = None

    def leave(self) -> None:
        self._end("leave")

    def close(self) -> None:
        if self._child is None and self._has_begun:
            self.open(1)
        if self._child is not None:
            self._end("close")


@pytest.fixture
def make_member(make_world) -> Iterator[Callable[..., Member]]:
    made: list[Member] = []

    def make(extra: str = "") -> Member:
        mesh = f"mesh: {{source: istiod, istiod: {{addresses: ['{ADDRESS}']{extra}}}}}\n"
        world = make_world(mesh)
        settings = "sidecar: {concurrency: 2, connect_timeout_ms: 500}\n"
        made.append(Member(world, f"agent: {{run_dir: {world.run_dir}}}\n{settings}{mesh}"))
        return made[-1]

    yield make
    for each in made:
        each.close()


def ask(world: Any, address: str = VIP) -> str:
    return world.get(f"http://{address}/")["name"]


@pytest.mark.parametrize("protocol", ["delta", "sotw"])
def test_what_the_control_plane_says_is_what_envoy_does(plane, make_member, protocol):
    member = make_member(f", protocol: {protocol}")
    world = member.world
    assert member.open()["state"] == "live"
    (node,) = plane.lines("node")
    assert (node["id"], node["form"]) == (member.node_id, protocol)
    assert node["metadata"] == {"NAMESPACE": "shop"}
    assert ask(world) == "h1"
    plane.write("web.json", entry("web", VIP, "10.77.0.3"))
    until(lambda: ask(world) == "h2", "the endpoint's change")
    plane.write("more.json", entry("more", "10.96.0.21", "10.77.0.4"))
    until(lambda: world.curl("http://10.96.0.21/")[0] == 0, "the new service")
    assert ask(world, "10.96.0.21") == "h3"
    until(lambda: member.status()["is_configured"], "all answered")
    status = member.status()
    counts = status["counts"]
    assert counts["sent LISTENER"] == counts["acked LISTENER"] >= 2
    assert status["uplink"]["is_up"]
    assert status["refusals"] == []
    (plane.folder / "more.json").unlink()
    name = "10.96.0.21_80"
    until(lambda: name not in member.admin.listeners(), "the listener's end")


def test_a_listener_that_envoy_refuses_is_named_with_its_reason_until_it_is_mended(
    plane, make_member
):
    member = make_member()
    member.open()

    def listener(prefix: str) -> str:
        place = {"socket_address": {"address": "127.0.0.1", "port_value": 16999}}
        url = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
        typed = {"@type": url, "stat_prefix": prefix, "cluster": "xds-grpc"}
        chain = {"filters": [{"name": "f", "typed_config": typed}]}
        body = {"@type": LDS, "name": "given", "address": place, "filter_chains": [chain]}
        return json.dumps([body])

    plane.write("resources/given.json", listener(""))
    until(lambda: bool(member.status()["refusals"]), "the refusal")
    (refusal,) = member.status()["refusals"]
    assert (refusal["kind"], refusal["names"]) == ("LISTENER", ["given"])
    assert "StatPrefix" in refusal["reason"]
    until(lambda: bool(plane.lines("nack")), "the control plane's own word of it")
    assert " ".join(plane.lines("nack")[0]["error"].split()) == refusal["reason"]
    assert ask(member.world) == "h1", "the rest is in force"
    plane.write("resources/given.json", listener("x"))
    until(lambda: not member.status()["refusals"], "mended")
    assert "given" in member.admin.listeners()


class Load:
    """One request after the other, each with a connection of its own, while something happens."""

    def __init__(self, world: Any, address: str = VIP) -> None:
        self.world, self.address = world, address
        self.done = 0
        self.names: set[str] = set()
        self.failed: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(2)]

    def _run(self) -> None:
        with open(f"/run/netns/{self.world.net.vm}") as file:
            # Of this thread only.
            assert ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET) == 0
        while not self._stop.is_set():
            connection = http.client.HTTPConnection(self.address, 80, timeout=20)
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                self.names.add(json.loads(answer.read())["name"])
                if answer.status != http.client.OK:
                    self.failed.append(str(answer.status))
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.failed.append(repr(error))
            finally:
                connection.close()
            self.done += 1

    def go_on(self, count: int) -> None:
        """Until so many more were made."""
        before = self.done
        until(lambda: self.done >= before + count, "more requests")

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)


def test_requests_go_on_while_control_plane_and_agent_come_and_go(plane, make_member):
    member = make_member()
    first = member.open()["pid"]
    with Load(member.world) as load:
        load.go_on(100)
        plane.kill()
        until(lambda: not member.status()["uplink"]["is_up"], "the loss is seen")
        until(lambda: bool(member.status()["uplink"]["last_error"]), "and told")
        load.go_on(200)
        member.leave()
        assert member.open()["adopted"], "an agent begins while the control plane is away"
        plane.write("web.json", entry("web", VIP, "10.77.0.3"))
        plane.start()
        until(lambda: "h2" in load.names, "what changed meanwhile")
        for _ in range(2):
            member.leave()
            load.go_on(100)
            member.open()
        plane.write("web.json", entry("web", VIP, "10.77.0.4"))
        until(lambda: "h3" in load.names, "a change after all that")
        load.go_on(max(0, REQUESTS - load.done))
    assert member.status()["pid"] == first
    assert load.failed == [], f"{len(load.failed)} of {load.done}"
    print(f"\n{load.done} requests, {len(load.failed)} failed")


def test_without_a_control_plane_envoy_waits_and_the_agent_goes_on(plane, make_member):
    plane.kill()
    member = make_member()
    status = member.open(live_s=1)
    assert (status["state"], status["is_configured"]) == ("starting", False)
    assert "10.77.0.1:15010" in status["uplink"]["last_error"]
    code, _ = member.world.curl(f"http://{VIP}/")
    assert code != 0, "nobody listens at 15001"
    member.leave()
    again = member.open(live_s=1)
    assert (again["adopted"], again["pid"]) == (True, status["pid"])
    plane.start()
    until(lambda: member.status()["state"] == "live", "the configuration")
    assert member.status()["pid"] == status["pid"]
    assert ask(member.world) == "h1"
