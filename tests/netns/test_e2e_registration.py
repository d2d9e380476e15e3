"""A VM that registers with a control plane over TLS, and tells it how its service is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.netns import istiod
from tests.netns.istiod import Member

pytestmark = [pytest.mark.root, pytest.mark.envoy]

GROUP = """
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: shop, namespace: bookinfo}
spec:
  metadata: {labels: {app: shop}}
  template: {ports: {http: 8080}}
"""
LATE_S = 60


@pytest.fixture(scope="module")
def vm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Member]:
    """Its service is fit when the file ``fit`` is there."""
    fit = tmp_path_factory.mktemp("shop") / "fit"
    command = ["test", "-e", str(fit)]
    probe = {"exec": {"command": command}, "period_s": 0.3, "timeout_s": 20, "failure_threshold": 1}
    workload = {"group": "shop", "probe": probe}
    on_exit = {"on_exit": "clean"}
    over = {"workload": workload, "agent": on_exit}
    with istiod.member(over, {"shop.yaml": GROUP}) as member:
        yield member


def fit(vm: Member) -> Path:
    tree: Any = yaml.safe_load(vm.agent.config.read_text())
    return Path(tree["workload"]["probe"]["exec"]["command"][-1])


def told(vm: Member) -> list[bool]:
    return [line["healthy"] for line in vm.control.lines("health")]


def test_the_node_names_its_group_and_that_its_health_is_told(vm: Member) -> None:
    for node in vm.control.lines("node"):
        assert node["metadata"]["AUTO_REGISTER_GROUP"] == "shop"
        assert "readinessProbe" in node["metadata"]["PROXY_CONFIG"]
    workload: Mapping[str, Any] = vm.status("workload")
    assert (workload["group"], workload["entry"]) == ("shop", "shop-10.77.0.10")
    assert workload["problem"] == ""


def test_a_turn_of_health_is_told_at_once_and_again_after_a_reconnect(vm: Member) -> None:
    vm.wait(lambda: told(vm)[-1:] == [False], "the first verdict", LATE_S)
    (line, *_) = vm.control.lines("health")
    assert "test: exit code 1" in line["message"]
    fit(vm).touch()
    vm.wait(lambda: told(vm)[-1:] == [True], "that it is fit", LATE_S)
    before = len(told(vm))
    vm.control.kill()
    vm.control.start()
    vm.wait(lambda: len(told(vm)) > before, "the same again", LATE_S)
    assert told(vm)[before:] == [True] * (len(told(vm)) - before)
    fit(vm).unlink()
    vm.wait(lambda: told(vm)[-1:] == [False], "that it is not fit", LATE_S)


def test_a_group_that_istiod_does_not_have_is_told_with_what_to_do(vm: Member) -> None:
    vm.control.kill()
    (vm.control.folder / "shop.yaml").unlink()
    vm.control.start()
    vm.wait(lambda: "WorkloadGroup" in vm.status("workload")["problem"], "the refusal", LATE_S)
    problem = vm.status("workload")["problem"]
    assert "does not know WorkloadGroup bookinfo/shop" in problem
    assert "workload group create" in problem
    assert vm.dig(istiod.REVIEWS) == ["10.96.0.11"], "the last good table holds"
    vm.control.write("shop.yaml", GROUP)
    vm.wait(lambda: vm.status("workload")["problem"] == "", "its end", LATE_S)


def test_an_agent_that_is_stopped_says_that_nobody_should_come_any_more(vm: Member) -> None:
    fit(vm).touch()
    vm.wait(lambda: told(vm)[-1:] == [True], "that it is fit", LATE_S)
    vm.agent.stop()
    assert told(vm)[-1] is False
    assert vm.control.lines("health")[-1]["message"] == "interceptor is being stopped"
