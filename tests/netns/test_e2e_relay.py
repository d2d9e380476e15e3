"""An agent whose Envoy is the control plane's: what it tells, and what comes and goes."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.netns.istiod import CALLED, REVIEWS, Member, member

pytestmark = [pytest.mark.root, pytest.mark.envoy]
OVER = {"capture": {"backend": "nftables"}, "agent": {"on_sidecar_loss": "bypass"}}


@pytest.fixture(scope="module")
def vm() -> Iterator[Member]:
    with member(OVER) as found:
        found.wait(lambda: found.curl(CALLED).startswith("reviews"), "the first call")
        yield found


def explain(vm: Member, port: int) -> dict[str, Any]:
    argv = (sys.executable, "-m", "interceptor", "explain", "--config", str(vm.agent.config))
    told = vm.lab.run("vm", (*argv, "--json", "http", f"{REVIEWS}:{port}"), check=False)
    found: dict[str, Any] = json.loads(told.stdout)
    return found


def test_cluster_and_endpoints_are_told_as_envoy_has_them(vm: Member) -> None:
    told = explain(vm, 9080)
    assert told["cluster"] == f"outbound|9080||{REVIEWS}"
    assert sorted(told["endpoints"]) == ["10.77.0.41:9080", "10.77.0.51:9080"]
    assert [each["cause"] for each in told.get("findings", [])] == []
    assert explain(vm, 9999)["endpoints"] == []
    uplink = vm.status("sidecar")["control_plane"]
    assert (uplink["is_up"], uplink["address"]) == (True, "10.77.0.70:15012")


def test_an_agent_that_is_killed_finds_its_envoy_again(vm: Member) -> None:
    before = vm.status("sidecar")["pid"]
    vm.agent.kill()
    resolved = ("--resolve", f"{REVIEWS}:9080:10.96.0.11")  # with netfilter names are the agent's
    assert vm.curl(CALLED, *resolved).startswith("reviews")
    vm.agent.start(timeout_s=60)
    found = vm.status("sidecar")
    assert (found["pid"], found["adopted"], found["state"]) == (before, True, "live")
    vm.wait(lambda: vm.status("sidecar")["control_plane"]["is_up"], "Envoy's stream")
    assert vm.curl(CALLED).startswith("reviews")


def test_an_envoy_that_nobody_configures_is_left_out_until_somebody_does(vm: Member) -> None:
    vm.control.kill()
    os.kill(vm.status("sidecar")["pid"], signal.SIGKILL)
    vm.wait(lambda: vm.status("capture")["planes"] == ["dns"], "the bypass")
    vm.wait(lambda: vm.status("sidecar")["state"] == "starting", "an Envoy without configuration")
    assert "the sidecar is starting" in vm.status("why")
    assert vm.dig(REVIEWS) == ["10.96.0.11"], "names do not wait for Envoy"
    assert "10.77.0.70" in vm.status("sidecar")["control_plane"]["last_error"]
    vm.control.start()
    vm.wait(lambda: "tcp" in vm.status("capture")["planes"], "the capture")
    vm.wait(lambda: vm.curl(CALLED).startswith("reviews"), "the next call")
