"""A VM whose names come from a control plane over TLS, and whose Envoy is configured by it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from interceptor.lab import demo_change
from tests.netns import istiod
from tests.netns.istiod import REVIEWS, Load, Member, entry

pytestmark = [pytest.mark.root, pytest.mark.envoy]

ROUNDS = int(os.environ.get("INTERCEPTOR_ISTIOD_ROUNDS", "1"))  # of changes and restarts under load
CALLS = 1000  # in a round, at least
SETTLED_S = 2.0


@pytest.fixture(scope="module")
def vm() -> Iterator[Member]:
    with istiod.member() as made:
        yield made


def test_a_name_of_the_mesh_is_answered_and_called_through_envoy(vm: Member) -> None:
    assert vm.dig(REVIEWS) == ["10.96.0.11"]
    assert vm.dig("www.corp.example") == ["10.77.0.61"], "others' names go where they went"
    assert vm.curl(f"http://{REVIEWS}:9080/") in ("reviews-v1", "reviews-v2")
    vm.wait(lambda: f"outbound|9080||{REVIEWS}" in "".join(vm.agent.access_log()), "access log")


def test_a_host_that_is_added_is_answered_within_two_seconds_and_called(vm: Member) -> None:
    assert vm.dig("fresh.mesh.internal") == []
    vm.control.write("fresh.yaml", entry("fresh"))
    took_s = vm.wait(lambda: vm.dig("fresh.mesh.internal"), "an answer", 20)
    print(f"answered after {took_s:.2f} s")
    assert took_s < SETTLED_S
    assert vm.curl("http://fresh.mesh.internal/") == "www.corp.example"
    vm.wait(lambda: "||fresh.mesh.internal" in "".join(vm.agent.access_log()), "access log")
    (vm.control.folder / "fresh.yaml").unlink()
    vm.wait(lambda: not vm.dig("fresh.mesh.internal"), "the end of its name", 20)


def test_the_control_plane_is_told_who_this_is_and_gets_its_answers(vm: Member) -> None:
    nodes = vm.control.lines("node")
    assert {node["id"] for node in nodes} == {
        "sidecar~10.77.0.10~vm.bookinfo~bookinfo.svc.cluster.local"
    }
    assert {node["metadata"]["DNS_CAPTURE"] for node in nodes} == {"true"}
    for kind in ("nds", "cds", "lds", "eds"):
        assert vm.control.lines("ack", type=kind), kind
    assert not vm.control.lines("nack")
    assert {line["by"] for line in vm.control.lines("stream")} == {"token"}


def test_no_call_fails_while_endpoints_move_and_both_sides_are_restarted(vm: Member) -> None:
    load = Load(vm, 600)
    text = (vm.control.folder / "bookinfo.yaml").read_text()
    restarts: list[float] = []
    moved: list[tuple[float, float]] = []
    for number in range(1, ROUNDS + 1):
        vm.control.write("bookinfo.yaml", demo_change.without_v2(text))
        begun_s = time.monotonic() + SETTLED_S
        time.sleep(SETTLED_S + 0.5)
        moved.append((begun_s, time.monotonic()))
        vm.control.kill()
        restarts.append(time.monotonic())
        vm.control.write("bookinfo.yaml", text)
        vm.agent.kill()
        vm.agent.start(timeout_s=istiod.READY_S)
        vm.control.start()
        since = len(load.calls())
        vm.wait(lambda at=since: "reviews-v2" in {c.answer for c in load.calls()[at:]}, "v2 again")
        vm.wait(lambda at=number: len(load.calls()) >= CALLS * at, "calls", 120)
    calls = load.end()
    print(f"{len(calls)} calls, {ROUNDS} rounds")
    assert [call for call in calls if call.status != 200] == []
    assert {call.answer for call in calls} == {"reviews-v1", "reviews-v2"}
    for begun_s, end_s in moved:
        assert {c.answer for c in calls if begun_s < c.at_s < end_s} == {"reviews-v1"}


def test_an_empty_table_after_a_full_one_is_believed_only_when_it_stands(vm: Member) -> None:
    with vm.control.spoilt(empty=True, types=["nds"]):
        start_s = time.monotonic()
        vm.control.order("push")
        vm.wait(lambda: vm.control.lines("push", type="nds"), "the empty table")
        assert vm.dig(REVIEWS) == ["10.96.0.11"]
        vm.wait(lambda: "empty" in str(vm.status("table")), "a word of it")
        vm.wait(lambda: not vm.dig(REVIEWS), "its end", 30)
        assert time.monotonic() - start_s >= istiod.EMPTY_AFTER_S
    vm.control.order("push")
    vm.wait(lambda: vm.dig(REVIEWS), "the table again")
