"""A real Envoy behind the programs of `bpf/`: no NAT, no conntrack, nothing that it must know."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from interceptor.host.layout import ALIAS4_NETWORKS, ALIAS6_NETWORK, Network, Number, PolicyFlag
from tests.conftest import Namespace
from tests.netns.bpf.conftest import Compiled, Kernel
from tests.netns.bpf.tcp.client import cookie
from tests.netns.bpf.tcp.conftest import Steered

pytestmark = [pytest.mark.root, pytest.mark.envoy]

VM4, VM6 = "10.77.0.1", "fd77::1"
JOIN = 'echo 0 >"$0"/cgroup.procs && exec "$@"'
FLAGS = PolicyFlag.IPV4 | PolicyFlag.IPV6 | PolicyFlag.SIDECAR
ALL = FLAGS | PolicyFlag.OUTBOUND | PolicyFlag.INBOUND | PolicyFlag.SELF
PEER = """
import socket, sys
one = socket.create_connection((sys.argv[1], 80), 5)
one.sendall(b"GET / HTTP/1.0\\r\\nHost: x\\r\\n\\r\\n")
one.recv(4096)
print(one.getpeername()[0], one.getsockname()[0])
"""


class Here(Namespace):
    """A namespace that somebody else made."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._pool = ThreadPoolExecutor(1, initializer=self._enter)

    def close(self) -> None:
        self._pool.shutdown()


class Around(Steered):
    """The programs around a namespace and its Envoy."""

    def __init__(self, kernel: Kernel, vm: str, cgroup: Path) -> None:
        self.kernel, self.cgroup, self.agent = kernel, cgroup, cgroup / "agent"
        self.vm = Here(vm)
        self.links, self.standins = {}, []
        self.agent.mkdir(parents=True)
        self.cookie = self.vm.call(cookie)
        self.vm.sh("nft delete table inet sidecar_test 2>/dev/null || true")
        for network in ALIAS4_NETWORKS:
            self.vm.sh(f"ip route replace local {network} dev lo src {VM4} proto 157")
        self.vm.sh(f"ip -6 route replace local {ALIAS6_NETWORK} dev lo src {VM6} proto 157")
        self.policy(ALL)
        self.networks(Network.OUTBOUND, "10.96.0.0/16", "2001:2::/48", "10.77.0.4/32")
        self.networks(Network.OWN, f"{VM4}/32", f"{VM6}/128")
        self.numbers(Number.IN_PORT, 8080, 8095)
        self.attach()

    def shell(self, *argv: str) -> str:
        """What a command of an application's prints."""
        enter = ["nsenter", f"--net=/run/netns/{self.vm.name}", *argv]
        words = ["sh", "-c", JOIN, str(self.cgroup), *enter]
        done = subprocess.run(words, capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def get(self, url: str) -> dict[str, str]:
        answer: dict[str, str] = json.loads(self.shell("curl", "-sS", "-m", "5", url))
        return answer


@pytest.fixture
def steering(make_world, net, pytestconfig) -> Iterator[tuple[Any, Around]]:
    """Envoy in a cgroup of its own; the programs were there before it."""
    from interceptor.host import probe

    kernel = Kernel(Compiled(pytestconfig.cache.mkdir("bpf")))
    around = Around(kernel, net.vm, Path(f"{probe.cgroup_mount()}/itest-{os.getpid()}-envoy"))
    world = make_world()
    plain = world.wanted
    join = ("sh", "-c", JOIN, str(around.agent))
    world.wanted = lambda: replace(plain(), join=join)
    try:
        world.start()
        yield world, around
    finally:
        world.close()
        world.close = lambda: None  # the maker's own closing would be the second
        around.close()
        around.vm.close()
        kernel.close()


@pytest.fixture(scope="module")
def servers(net):
    return net.serve(
        net.far,
        *("http:h1:8080:10.77.0.2", "http:h2:8080:fd77::2", "http:far:8080:10.77.0.4"),
    )


@pytest.fixture(scope="module")
def application(net):
    return net.serve(net.vm, "http:app:8080:0.0.0.0", "http:app6:8080:fd77::1")


def web(make_service: Any) -> Any:
    addresses = ("10.96.0.10", "2001:2::a")
    return make_service("web.shop.svc.cluster.local", addresses, (("10.77.0.2", 8080),))


@pytest.mark.parametrize("address", ["10.96.0.10", "2001:2::a"])
def test_a_service_is_reached_by_its_address(steering, servers, make_service, address) -> None:
    world, around = steering
    world.mesh(web(make_service))
    host = f"[{address}]" if ":" in address else address
    assert around.get(f"http://{host}/")["name"] == "h1"
    line = world.access_log("web.shop")[0]
    assert line["original_destination"] == f"{host}:80"
    peer, own = around.shell(sys.executable, "-c", PEER, address).split()
    assert (peer, own) == (address, VM6 if ":" in address else VM4)


def test_a_destination_unknown_to_the_mesh_is_reached_as_it_is(steering, servers) -> None:
    world, around = steering
    assert around.get("http://10.77.0.4:8080/")["name"] == "far"
    assert world.access_log("10.77.0.4:8080")[0]["upstream_cluster"] == "PassthroughCluster"
    assert around.counted()["exempt"] == 1


@pytest.mark.parametrize("address", [VM4, VM6])
def test_inbound_knows_the_client_and_the_application_answers(
    steering, servers, application, address
) -> None:
    world, around = steering
    host = f"[{address}]" if ":" in address else address
    url = f"http://{host}:8080/"
    words = ["ip", "netns", "exec", world.net.far, "curl", "-sS", "-m", "5", url]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["peer"] in ("127.0.0.6", "::6")
    line = world.access_log(f"{host}:8080")[0]
    assert line["direction"] == "inbound"
    assert line["client"].startswith(("10.77.0.", "[fd77::"))
    assert around.counted()["inbound"] == 1


def test_a_call_to_oneself_goes_through_inbound(steering, application, make_service) -> None:
    world, around = steering
    world.mesh(make_service("me.shop.svc.cluster.local", "10.96.0.21", ((VM4, 8080),)))
    answer = around.get("http://10.96.0.21/")
    assert (answer["name"], answer["peer"]) == ("app", "127.0.0.6")
    counted = around.counted()
    assert (counted["outbound"], counted["self"]) == (1, 1)


def test_an_envoy_that_starts_again_is_found_by_itself(steering, servers, make_service) -> None:
    world, around = steering
    world.mesh(web(make_service))
    world.loop.run(world.sidecar.stop(0))
    with pytest.raises(AssertionError, match="refused|Could not connect|Couldn't connect"):
        around.get("http://10.96.0.10/")
    world.start_sidecar()
    world.settle()
    assert around.get("http://10.96.0.10/")["name"] == "h1"


def test_the_sidecars_own_port_leads_nowhere(steering, servers) -> None:
    """Nor does it dial itself for ever."""
    _, around = steering
    with pytest.raises(AssertionError):
        around.get("http://127.0.0.1:15001/")
    assert around.counted().get("exempt", 0) < 5
