"""A VM that registers with its control plane: identity by its CA, its group, its health."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator

import pytest

from tests.netns import istiod
from tests.netns.istiod import Member

pytestmark = [pytest.mark.root, pytest.mark.envoy]

GROUP = """
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: web, namespace: bookinfo}
spec: {template: {labels: {app: web}, ports: {http: 8080}}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: web, namespace: bookinfo}
spec:
  hosts: [web.mesh.internal]
  addresses: [240.240.7.7]
  resolution: STATIC
  ports: [{number: 8080, name: http, protocol: HTTP}]
  workloadSelector: {labels: {app: web}}
"""
NAME = "web-10.77.0.10"


@pytest.fixture(scope="module")
def vm() -> Iterator[Member]:
    probe = {"tcp": {"port": 8080, "host": "10.77.0.10"}, "period_s": 0.2, "failure_threshold": 1}
    over = {
        "identity": {"provider": "istiod"},
        "workload": {"group": "web", "probe": probe},
        "capture": {"inbound": {"ports": [8080]}},
    }
    with istiod.member(over, {"group.yaml": GROUP}) as made:
        yield made


def test_it_is_registered_by_its_group_under_its_own_address(vm: Member) -> None:
    vm.wait(lambda: vm.control.lines("registered", name=NAME), "the registration")
    assert vm.dig("web.mesh.internal") == ["240.240.7.7"]


def test_it_is_let_in_by_a_certificate_of_the_control_planes_ca(vm: Member) -> None:
    vm.wait(lambda: vm.control.lines("csr", by="token"), "a request for a certificate")
    vm.wait(lambda: vm.status("identity").get("issuer"), "a certificate")
    told = vm.status("identity")
    assert told["who"] == "spiffe://cluster.local/ns/bookinfo/sa/default", told
    assert told["failures"] == 0, told
    vm.control.order("cut")
    vm.wait(lambda: vm.control.lines("stream", by="certificate"), "a stream by certificate")


def test_its_health_is_told_on_change_and_after_each_reconnect(vm: Member) -> None:
    def last() -> object:
        return (vm.control.lines("health") or [{}])[-1].get("healthy")

    vm.wait(lambda: last() is False, "that nobody listens")
    assert vm.control.lines("health")[-1]["message"]
    argv = [sys.executable, "-m", "http.server", "8080", "--bind", "10.77.0.10"]
    server = vm.lab.start("vm", argv, "web")
    vm.wait(lambda: last() is True, "that somebody does")
    known = len(vm.control.lines("health"))
    vm.control.order("cut")
    vm.wait(lambda: len(vm.control.lines("health")) > known, "it told again")
    assert last() is True
    server.stop()
    vm.wait(lambda: last() is False, "that nobody does any more")


def test_a_group_that_there_is_not_is_told_and_names_stay(vm: Member) -> None:
    (vm.control.folder / "group.yaml").unlink()
    try:
        vm.wait(lambda: not vm.dig("web.mesh.internal"), "the end of the group")
        vm.control.order("cut")
        vm.wait(lambda: "WorkloadGroup bookinfo/web" in vm.wrong(), "a word of it")
        assert vm.dig(istiod.REVIEWS) == ["10.96.0.11"]
    finally:
        vm.control.write("group.yaml", GROUP)
    vm.wait(lambda: vm.dig("web.mesh.internal"), "the group again", 60)


def test_a_certificate_of_an_authority_that_is_gone_does_not_keep_it_out(vm: Member) -> None:
    before = vm.status("identity")["issuer"]
    vm.agent.stop()
    vm.control.kill()
    shutil.rmtree(vm.control.home / "state")  # another authority; its root and token are given
    vm.control.start()
    vm.agent.start(timeout_s=istiod.READY_S)
    vm.wait(lambda: vm.status("identity").get("issuer") not in (None, before), "another", 60)
    since = len(vm.control.lines("stream", by="certificate"))
    vm.control.order("cut")
    vm.wait(lambda: len(vm.control.lines("stream", by="certificate")) > since, "a stream by it", 60)
    vm.control.write("again.yaml", istiod.entry("again"))
    vm.wait(lambda: vm.dig("again.mesh.internal"), "a host more", 60)
    vm.wait(lambda: vm.curl("http://again.mesh.internal/") == "www.corp.example", "a call", 60)
