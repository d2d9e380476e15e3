"""What is wrong from the table to the scope, and when nothing is."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from interceptor import config
from interceptor.debug import steering
from interceptor.debug.case import Case
from interceptor.debug.finding import Cause, Finding
from interceptor.errors import Problem
from interceptor.mesh.model import AppProtocol, Host, Kind, Port
from tests.unit.debug import sick

PROBLEM = Problem("mesh/a.yaml", "spec.hosts", "[]", "at least one host")


def diagnose(case: Case) -> list[Finding]:
    return list(steering.diagnose(case))


def causes(case: Case) -> list[Cause]:
    return [finding.cause for finding in diagnose(case)]


def test_a_call_that_is_well_gives_no_finding() -> None:
    assert causes(sick.case()) == []


@pytest.mark.parametrize(
    ("setting", "cause"),
    [
        ("outbound: {exclude_ports: [9080]}", Cause.EXCLUDED_PORT),
        ("outbound: {exclude_cidrs: [10.96.0.0/16]}", Cause.EXCLUDED_ADDRESS),
        ("owners: {exclude_uids: [1000]}", Cause.EXCLUDED_OWNER),
        ("owners: {include_gids: [7]}", Cause.EXCLUDED_OWNER),
        ("interfaces: {exclude: [eth0]}", Cause.EXCLUDED_INTERFACE),
    ],
)
def test_what_is_excluded_by_wish_is_told_by_its_setting(setting: str, cause: Cause) -> None:
    made = sick.case(config=config.parse(f"capture: {{{setting}}}"))
    assert causes(made) == [cause]


def test_a_port_that_the_host_does_not_have_is_told_with_those_it_has() -> None:
    found = diagnose(sick.case(port=81))
    assert [each.cause for each in found] == [Cause.PORT_NOT_SERVED]
    assert "9080 (http)" in found[0].why


@pytest.mark.parametrize(
    "change",
    [{"held": True}, {"rejected": ("a.yaml: x",)}, {"knows_host": False}, {"told": ("10.0.0.1",)}],
)
def test_a_table_that_is_not_the_documents_is_stale(change: dict[str, object]) -> None:
    made = sick.case()
    assert made.running is not None
    running = replace(made.running, **change)  # type: ignore[arg-type]
    assert causes(replace(made, running=running)) == [Cause.STALE_TABLE]


def test_without_a_daemon_refused_documents_are_only_refused() -> None:
    assert causes(sick.case(running=None, problems=(PROBLEM,))) == [Cause.REFUSED_TABLE]


def test_two_hosts_at_one_address_clash_unless_both_are_http() -> None:
    rival = Host("zoo.example", "a", Kind.SERVICE_ENTRY, sick.REVIEWS.addresses)
    tcp = replace(rival, ports=(Port("tcp", 9080),))
    found = diagnose(sick.case(sick.REVIEWS, tcp))
    assert [each.cause for each in found] == [Cause.VIP_CLASH]
    assert f"{sick.NAME} has it" in found[0].why
    assert causes(sick.case(sick.REVIEWS, replace(rival, ports=(sick.HTTP,)))) == []
    other = replace(rival, ports=(Port("http", 9081, AppProtocol.HTTP),))
    assert causes(sick.case(sick.REVIEWS, other)) == []


def test_a_service_at_this_vms_own_address_clashes_with_it() -> None:
    own = replace(sick.REVIEWS, addresses=(ip_address("10.77.0.10"),))
    assert causes(sick.case(own)) == [Cause.VIP_CLASH]


def test_a_host_of_ipv6_addresses_is_lost_to_a_vm_without() -> None:
    made = sick.case(facts=replace(sick.FACTS, has_ipv6=False))
    assert causes(made) == []
    assert made.flow is not None
    flow = replace(made.flow, destination=ip_address("fd96::11"))
    assert causes(replace(made, flow=flow)) == [Cause.IPV6_ONLY]


def test_a_daemon_that_does_not_answer_is_told_and_one_that_is_not_there_is_not() -> None:
    assert causes(sick.case(running=None, silent=77)) == [Cause.DAEMON_SILENT]
    assert causes(sick.case(running=None)) == []
