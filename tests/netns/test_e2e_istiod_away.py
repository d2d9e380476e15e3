"""A start beside a control plane that is not there, or not at its first address."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from interceptor.lab import agent as lab_agent
from tests.netns import istiod
from tests.netns.istiod import ADDRESS, REVIEWS, Control, Member

pytestmark = [pytest.mark.root, pytest.mark.envoy]

NOBODY = "10.77.0.70:15999"  # refuses
SILENT = "10.77.0.99:15012"  # nobody has that address


@pytest.fixture(scope="module")
def vm() -> Iterator[Member]:
    """Both at rest. The control plane has been started once, so that there is a token."""
    with ExitStack() as stack:
        lab = stack.enter_context(istiod.opened())
        control = Control(lab)
        control.start()
        stack.callback(control.kill)
        addresses = {"mesh": {"istiod": {"addresses": [NOBODY, ADDRESS]}}}
        agent = lab_agent.prepare(lab, "vm", istiod.settings(control, addresses))
        stack.callback(agent.stop)
        yield Member(agent, control)


def test_the_second_address_serves_where_the_first_is_down(vm: Member) -> None:
    vm.agent.start(timeout_s=istiod.READY_S)
    vm.wait(lambda: vm.dig(REVIEWS) == ["10.96.0.11"], "an answer")
    assert ADDRESS in str(vm.status("control_plane"))
    vm.agent.stop()


def test_without_a_control_plane_the_table_on_disk_answers(vm: Member) -> None:
    vm.control.kill()
    vm.agent.start(timeout_s=istiod.READY_S)
    vm.wait(lambda: vm.dig(REVIEWS) == ["10.96.0.11"], "the table on disk")
    assert vm.dig("www.corp.example") == ["10.77.0.61"]
    told = vm.status("control_plane")
    assert told["connected"] is False, told
    assert vm.curl(f"http://{REVIEWS}:9080/") in ("reviews-v1", "reviews-v2"), "Envoy lives on"
    vm.agent.stop()


def test_without_a_table_on_disk_every_name_goes_where_it_went(vm: Member) -> None:
    shutil.rmtree(vm.lab.host_folder("vm") / "state")
    vm.agent.launch()
    vm.wait(lambda: vm.status("control_plane").get("connected") is False, "the daemon", 60)
    assert vm.dig("www.corp.example") == ["10.77.0.61"]
    assert vm.dig(REVIEWS) == [], "the resolver that was asked knows no such name"
    argv = ("dig", "+tries=1", "+time=2", "@10.77.0.53", REVIEWS)
    assert "NXDOMAIN" in vm.run(*argv), "and it was it that answered"
    vm.control.start()
    vm.wait(lambda: vm.dig(REVIEWS) == ["10.96.0.11"], "the first table", 60)
    vm.wait(lambda: vm.curl(f"http://{REVIEWS}:9080/").startswith("reviews-"), "a call", 60)
