"""The agent's own way to the control plane: no rule captures it, so names do not wait for Envoy."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator

import pytest

from tests.netns import istiod
from tests.netns.istiod import ADDRESS, HOST, REVIEWS, Member, entry

pytestmark = [pytest.mark.root, pytest.mark.envoy]

TRAP = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: trap, namespace: bookinfo}
spec:
  hosts: [www.corp.example]
  addresses: [10.96.7.7]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 10.77.0.61}]
"""


@pytest.fixture(scope="module", params=["ebpf", "nftables"])
def vm(request: pytest.FixtureRequest) -> Iterator[Member]:
    # "*" is what istioctl's cluster.env always has.
    capture = {"backend": request.param, "outbound": {"cidrs": "*"}}
    with istiod.member({"capture": capture}) as made:
        yield made


def is_reached(vm: Member) -> bool:
    """Whether a program of the VM that is not the agent shakes hands with the control plane."""
    words = ("-m", "2", "-k", "-o", "/dev/null", "-w", "%{time_appconnect}")
    return float(vm.curl(f"https://{ADDRESS}/", *words)) > 0


def test_names_come_while_envoy_stands_still_and_everything_is_captured(vm: Member) -> None:
    assert vm.dig(REVIEWS) == ["10.96.0.11"]
    assert is_reached(vm)
    envoy = vm.status("sidecar")["pid"]
    os.kill(envoy, signal.SIGSTOP)
    try:
        assert not is_reached(vm), "what is captured waits for Envoy"
        before = vm.status("control_plane")["ends"]
        vm.control.order("cut")
        vm.wait(lambda: vm.status("control_plane")["ends"] > before, "the end of the stream")
        vm.control.write("fresh.yaml", entry("fresh"))
        vm.wait(lambda: vm.dig("fresh.mesh.internal"), "an answer", 20)
        assert envoy == vm.status("sidecar")["pid"], "it stood still all the time"
    finally:
        os.kill(envoy, signal.SIGCONT)
    vm.wait(lambda: vm.curl("http://fresh.mesh.internal/") == "www.corp.example", "a call", 30)


def test_the_control_plane_sees_the_vm_itself_and_no_proxy(vm: Member) -> None:
    """Two connections, ours and Envoy's by us, with sockets of the daemon's; none of Envoy's."""
    text = vm.run("ss", "-Htnp", "dst", f"10.77.0.{istiod.NUMBER}")
    assert text.count("ESTAB") == 2, text
    assert "envoy" not in text
    assert (
        vm.lab.run(HOST, ("ss", "-Htn", "src", f":{istiod.PORT}")).stdout.count("10.77.0.10") == 2
    )


def test_a_name_is_looked_up_as_the_host_knows_it_and_not_as_the_mesh_answers(
    vm: Member,
) -> None:
    """The mesh's address of its own control plane may only work within the cluster."""
    program = (
        "import asyncio, sys; from interceptor.host.lookup import Manner, find; "
        "print(*asyncio.run(find(sys.argv[1], Manner(0, int(sys.argv[2])), 5)))"
    )
    vm.control.write("trap.yaml", TRAP)
    vm.wait(lambda: vm.dig("www.corp.example") == ["10.96.7.7"], "the mesh's answer")
    argv = (sys.executable, "-c", program, "www.corp.example")
    assert "10.96.7.7" in vm.run(*argv, "0"), "as every program of the VM is answered"
    assert vm.run(*argv, str(0x1DC0)).split()[0] == "10.77.0.61"
