"""The fate of single flows: each line of design §5, and the order between the lines."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.capture import scope
from interceptor.capture.plan import Facts, Flow, Hook, Plan, Verdict, build
from interceptor.config import Config

OUT, IN = Hook.OUTPUT, Hook.PREROUTING
ME = ip_address("10.0.0.2")
BASE = Flow(OUT, "tcp", ME, ip_address("240.240.0.5"), 80, "eth0", 1000, 1000)


def plan_of(**capture: Any) -> Plan:
    extra = {key: capture.pop(key) for key in ("dns", "sidecar") if key in capture}
    facts = Facts(own_addresses=(ME, ip_address("fd10::2")), servers=(ip_address("127.0.0.53"),))
    config = Config.model_validate({"capture": capture, **extra})
    return build(config, facts, [ip_address("192.0.2.7"), ip_address("fd20::7")])


def fate(plan: Plan, **changes: Any) -> tuple[str, int]:
    for name in ("source", "destination"):
        if name in changes:
            changes[name] = ip_address(changes[name])
    flow = replace(BASE, **changes)
    decision = scope.decide(plan, flow)
    assert scope.Scope(plan).decide(flow) == decision
    return decision.verdict.value, decision.rule


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ("outbound", 7)),
        ({"destination": "192.0.2.7"}, ("outbound", 7)),
        ({"destination": "fd20::7"}, ("outbound", 7)),
        ({"destination": "192.0.2.8"}, ("pass", 9)),
        ({"protocol": "udp"}, ("pass", 9)),
        ({"mark": 0x1DC0}, ("pass", 2)),
        ({"uid": 1337}, ("pass", 2)),
        ({"gid": 1337}, ("pass", 2)),
        ({"destination": "1.1.1.1", "port": 53}, ("dns", 5)),
        ({"destination": "127.0.0.53", "port": 53, "interface": "lo"}, ("dns", 5)),
        ({"destination": "1.1.1.1", "port": 53, "protocol": "udp"}, ("dns", 5)),
        ({"destination": "1.1.1.1", "port": 53, "protocol": "udp", "uid": 1337}, ("pass", 2)),
        ({"destination": "127.0.0.1", "interface": "lo"}, ("pass", 6)),
        ({"destination": "10.0.0.2", "interface": "lo"}, ("pass", 6)),
        ({"destination": "fd10::2", "interface": "lo"}, ("pass", 6)),
    ],
)
def test_the_default_captures_the_mesh_and_dns_alone(
    changes: dict[str, Any], expected: tuple[str, int]
) -> None:
    assert fate(plan_of(), **changes) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ("inbound", 2)),
        ({"gid": 1337, "uid": 0}, ("inbound", 2)),
        ({"source": "127.0.0.6"}, ("pass", 2)),
        ({"source": "::6", "destination": "fd10::2"}, ("pass", 2)),
        ({"port": 53}, ("pass", 2)),
        ({"port": 15008}, ("pass", 2)),
        ({"port": 22}, ("pass", 2)),
        ({"destination": "127.0.0.1"}, ("pass", 2)),
        ({"mark": 0x1DC0}, ("pass", 2)),
        ({"uid": 0, "source": "127.0.0.6"}, ("pass", 3)),
    ],
)
def test_only_the_sidecar_s_call_to_this_vm_goes_through_inbound(
    changes: dict[str, Any], expected: tuple[str, int]
) -> None:
    flow = {"uid": 1337, "interface": "lo", "destination": "10.0.0.2", **changes}
    assert fate(plan_of(), **flow) == expected


def test_excluded_owners_keep_their_own_dns() -> None:
    plan = plan_of(owners={"exclude_uids": [1000], "exclude_cgroups": ["system.slice/x.service"]})
    assert fate(plan, port=53) == ("pass", 4)
    assert fate(plan, uid=5, cgroup="/system.slice/x.service/worker") == ("pass", 4)
    assert fate(plan, uid=5, cgroup="system.slice/x.service2") == ("outbound", 7)


def test_with_an_include_list_one_membership_is_enough() -> None:
    plan = plan_of(owners={"include_uids": [1000], "include_gids": [50]})
    assert fate(plan) == ("outbound", 7)
    assert fate(plan, uid=1, gid=50) == ("outbound", 7)
    assert fate(plan, uid=1, gid=1) == ("pass", 4)
    assert fate(plan, uid=None, gid=None) == ("pass", 4)


def test_exclusions_come_before_inclusions_and_ports_before_networks() -> None:
    outbound = {
        "cidrs": ["10.0.0.0/8"],
        "exclude_cidrs": ["10.9.0.0/16"],
        "ports": [443],
        "exclude_ports": [25],
    }
    plan = plan_of(outbound=outbound)
    assert fate(plan, destination="10.1.1.1") == ("outbound", 7)
    assert fate(plan, destination="10.9.1.1") == ("pass", 6)
    assert fate(plan, destination="10.1.1.1", port=25) == ("pass", 6)
    assert fate(plan, destination="8.8.8.8", port=443) == ("outbound", 7)
    assert fate(plan, destination="10.9.1.1", port=443) == ("pass", 6)


def test_everything_is_everything_but_what_is_here() -> None:
    plan = plan_of(outbound={"cidrs": "*"})
    assert fate(plan, destination="8.8.8.8") == ("outbound", 7)
    assert fate(plan, destination="2606::1") == ("outbound", 7)
    assert fate(plan, destination="10.0.0.2", interface="lo") == ("pass", 6)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ("inbound", 8)),
        ({"destination": "fd10::2"}, ("inbound", 8)),
        ({"port": 22}, ("pass", 8)),
        ({"port": 15008}, ("pass", 8)),
        ({"port": 15021}, ("pass", 8)),
        ({"interface": "lo"}, ("pass", 8)),
        ({"destination": "10.0.0.3"}, ("pass", 8)),
        ({"interface": "eth9"}, ("pass", 1)),
        ({"protocol": "udp"}, ("pass", 9)),
    ],
)
def test_inbound_takes_what_is_addressed_to_this_vm(
    changes: dict[str, Any], expected: tuple[str, int]
) -> None:
    plan = plan_of(inbound={"ports": "*"}, interfaces={"exclude": ["eth9"]})
    arriving = {"hook": IN, "uid": None, "gid": None, "destination": "10.0.0.2", **changes}
    assert fate(plan, **arriving) == expected


def test_ssh_is_captured_only_when_it_is_named_outright() -> None:
    plan = plan_of(inbound={"ports": [22]})
    assert fate(plan, hook=IN, destination="10.0.0.2", port=22) == ("inbound", 8)
    assert fate(plan, hook=IN, destination="10.0.0.2", port=80) == ("pass", 9)


def test_containers_are_captured_on_the_bridges_that_are_named() -> None:
    plan = plan_of(interfaces={"bridges": ["docker0"]}, inbound={"ports": [80]})
    inside = {"hook": IN, "uid": None, "gid": None, "interface": "docker0"}
    assert fate(plan, **inside) == ("outbound", 7)
    assert fate(plan, **inside, port=53, destination="8.8.8.8") == ("dns", 5)
    assert fate(plan, **inside, destination="10.0.0.2") == ("inbound", 8)
    assert fate(plan, **{**inside, "interface": "docker1"}) == ("pass", 8)


def test_without_a_sidecar_only_dns_is_captured() -> None:
    plan = plan_of(sidecar={"mode": "none"})
    assert fate(plan) == ("pass", 9)
    assert fate(plan, uid=1337, port=53) == ("dns", 5)


def test_a_family_that_is_off_is_not_looked_at() -> None:
    assert fate(plan_of(ipv6=False), destination="fd20::7") == ("pass", 9)


@given(
    st.integers(0, 2**32 - 1).map(ip_address),
    st.integers(0, 65535),
    st.sampled_from([None, 0, 1000, 1337]),
    st.sampled_from(["tcp", "udp"]),
)
def test_every_flow_has_a_fate_and_a_reason(
    destination: Any, port: int, uid: int | None, protocol: str
) -> None:
    flow = replace(BASE, destination=destination, port=port, uid=uid, protocol=protocol)
    decision = scope.decide(plan_of(), flow)
    assert 1 <= decision.rule <= 9
    assert decision.why
    if protocol == "udp":
        assert decision.verdict in (Verdict.PASS, Verdict.DNS)
