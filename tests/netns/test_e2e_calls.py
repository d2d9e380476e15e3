"""Calls through the real daemon and the real Envoy, while the mesh's documents change."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import pytest

from interceptor.lab import agent as lab_agent
from interceptor.lab import caller, demo_call, demo_change, session
from interceptor.lab.agent import Agent
from interceptor.lab.demo_call import Call
from interceptor.lab.removal import wait_until
from interceptor.lab.world import Lab

pytestmark = [pytest.mark.root, pytest.mark.envoy]

REVIEWS = "http://reviews.bookinfo.svc.cluster.local:9080/"


def curl(agent: Agent, url: str, *words: str) -> str:
    argv = ["curl", "-sS", "-m", "5", *words, url]
    return agent.lab.run(agent.host, argv, check=False).stdout.strip()


@pytest.mark.parametrize(
    "call", [c for c in demo_call.CALLS if c.host == "vm"], ids=lambda c: c.title
)
def test_a_call_by_name_is_explained_and_answered(member: Agent, call: Call) -> None:
    told = list(demo_call.run(member, call))
    assert "endpoint" in told[-1]


def test_endpoints_share_the_load_by_weight(member: Agent) -> None:
    assert "ratings-v1" in next(demo_change.weights(member))


def test_a_removed_endpoint_gets_no_call_within_a_second_and_none_fails(member: Agent) -> None:
    assert "none failed" in list(demo_change.removal(member))[-1]


def test_a_removed_endpoint_breaks_no_kept_connection(member: Agent) -> None:
    argv = [sys.executable, "-m", caller.__name__, REVIEWS, "3", "keep"]
    process = member.lab.start("vm", argv, "keep")
    wait_until(lambda: bool(caller.decode(member.lab.log("vm", "keep"))), "the first call")
    file = member.mesh / "bookinfo.yaml"
    text = file.read_text()
    demo_change.replace(file, demo_change.without_v2(text))
    time.sleep(1)
    demo_change.replace(file, text)
    process.wait(20)
    calls = caller.decode(member.lab.log("vm", "keep"))
    assert len(calls) > 100
    assert caller.failures(calls) == ()


def test_a_wrong_document_changes_nothing_and_is_reported(member: Agent) -> None:
    said = next(demo_change.wrong(member))
    assert "wrong.yaml" in said
    assert "99999" in said


def test_a_new_service_is_answered_and_called_within_a_second(member: Agent) -> None:
    file = member.mesh / "new.yaml"
    demo_change.replace(
        file,
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\n"
        "metadata: {name: new, namespace: bookinfo}\n"
        "spec:\n  hosts: [new.mesh.internal]\n  resolution: STATIC\n"
        "  ports: [{number: 80, name: http, protocol: HTTP}]\n"
        "  endpoints: [{address: 10.77.0.61}]\n",
    )
    try:
        wait_until(
            lambda: curl(member, "http://new.mesh.internal/") == "www.corp.example", "a call", 1.5
        )
    finally:
        file.unlink()
    wait_until(lambda: curl(member, "http://new.mesh.internal/") == "", "its end", 2)


def test_an_address_of_nobody_in_a_captured_range_is_an_error_and_not_a_hang(
    member: Agent,
) -> None:
    start = time.monotonic()
    curl(member, "http://240.240.255.254:9080/")
    assert time.monotonic() - start < 4.5


def test_what_is_not_captured_is_not_seen_by_the_sidecar(member: Agent) -> None:
    seen = len(member.access_log())
    assert curl(member, "http://10.77.0.61/") == "www.corp.example"
    assert curl(member, "http://reviews.bookinfo:9080/").startswith("reviews-")
    wait_until(lambda: len(member.access_log()) > seen, "the access log")
    assert "www.corp.example" not in "".join(member.access_log()[seen:])


@pytest.fixture(scope="module", params=["nftables", "ebpf"])
def both(request: pytest.FixtureRequest) -> Iterator[tuple[Agent, Agent]]:
    with Lab.open() as lab:
        vm, vm2 = session.open_agents(lab, {"capture": {"backend": request.param}})
        yield vm, vm2
        vm.stop()
        vm2.stop()


@pytest.mark.parametrize("family", [4, 6])
def test_a_service_of_one_vm_is_called_by_name_from_the_other_through_both_sidecars(
    both: tuple[Agent, Agent], family: int
) -> None:
    vm, vm2 = both
    call = Call("vm", "mysql.vm.svc.cluster.local", 3306, family, ("mysql-vm2",), False)
    sent, received = len(vm.access_log()), len(vm2.access_log())
    told = list(demo_call.run(vm, call))
    # 127.0.0.6 is from where the inbound sidecar calls its application.
    assert told[-1].endswith("mysql-vm2 ready, you are 127.0.0.6")
    wait_until(lambda: len(vm.access_log()) > sent, "vm's access log")
    wait_until(lambda: len(vm2.access_log()) > received, "vm2's access log")
    assert "mysql.vm.svc.cluster.local" in vm.access_log()[-1]
    assert '"inbound"' in vm2.access_log()[-1]


def test_ports_that_are_not_offered_reach_the_application_directly(
    both: tuple[Agent, Agent],
) -> None:
    vm, vm2 = both
    received = len(vm2.access_log())
    lab = vm.lab
    lab.start("vm2", [sys.executable, "-m", "http.server", "8099", "--bind", "::"], "plain")
    wait_until(lambda: "200" in curl(vm, "http://[fd77::20]:8099/", "-I"), "the plain server", 5)
    assert len(vm2.access_log()) == received


def test_the_second_vm_calls_the_first_ones_mesh(both: tuple[Agent, Agent]) -> None:
    _, vm2 = both
    assert curl(vm2, REVIEWS) in ("reviews-v1", "reviews-v2")
    assert curl(vm2, "http://reviews:9080/") == "", "a short name of another namespace"


def test_an_agent_that_is_restarted_keeps_envoy_and_open_connections(lab: Lab) -> None:
    agent = lab_agent.prepare(lab, "vm", {"agent": {"on_exit": "keep"}})
    agent.start()
    argv = [sys.executable, "-m", caller.__name__, REVIEWS, "6", "keep"]
    process = lab.start("vm", argv, "keep")
    wait_until(lambda: bool(caller.decode(lab.log("vm", "keep"))), "the first call")
    agent.kill()
    agent.start()
    process.wait(20)
    calls = caller.decode(lab.log("vm", "keep"))
    assert caller.failures(calls) == ()
    assert len({call.answer for call in calls}) == 2
    agent.stop()
