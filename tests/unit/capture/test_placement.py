"""The policy of a plan decides as the plan does: `scope.decide` is the oracle.

`fate` below is the programs' fixed order in Python, over nothing but the policy.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interceptor.capture import placement, scope
from interceptor.capture.plan import Device, Facts, Flow, Hook, Plan, Plane, Verdict, build
from interceptor.capture.policy import NO_CGROUP, CgroupRef, Policy
from interceptor.capture.rule import Mark, Rule
from interceptor.config import Config
from interceptor.host.layout import Network, Number, PolicyFlag
from interceptor.host.probe import LinkLayer

OWN = ("10.0.0.2", "fd10::2")
LOOPBACK = ("127.0.0.1", "127.0.0.53", "::1")
FAR = ("10.50.0.1", "10.50.9.9", "240.240.1.1", "8.8.8.8", "fd50::1", "2001:2::7", "2606::1")
CGROUPS = {"a.slice": 71, "a.slice/b.service": 72, "c.slice": 73}
FACTS = Facts(
    own_addresses=tuple(map(ip_address, (*OWN, "fe80::2"))),
    servers=(ip_address("127.0.0.53"), ip_address("8.8.8.8")),
    cgroups=tuple(CGROUPS.items()),
    devices=(Device("eth0", 2, LinkLayer.ETHERNET), Device("eth9", 9, LinkLayer.ETHERNET)),
)


def fate(policy: Policy, flow: Flow) -> Verdict:
    if flow.hook is Hook.PREROUTING:
        return _arriving(policy, flow)
    return _leaving(policy, flow)


def _has(policy: Policy, kind: Number, value: int | None) -> bool:
    return (kind, value) in policy.numbers


def _in(policy: Policy, kind: Network, address: Any) -> bool:
    return any(address in network for which, network in policy.networks if which is kind)


def _is_dns(policy: Policy, flow: Flow) -> bool:
    all_servers = PolicyFlag.DNS_ALL in policy.flags
    captured = all_servers or _in(policy, Network.SERVER, flow.destination)
    return PolicyFlag.DNS in policy.flags and flow.port == 53 and captured


def _family(policy: Policy, flow: Flow) -> bool:
    four = flow.destination.version == 4
    return (PolicyFlag.IPV4 if four else PolicyFlag.IPV6) in policy.flags


def _below(policy: Policy, flow: Flow, references: tuple[CgroupRef, ...]) -> bool:
    parts = [part for part in flow.cgroup.split("/") if part]
    ancestors = [CGROUPS.get("/".join(parts[:level]), 1) for level in range(len(parts) + 1)]
    found = [ref for ref in references if ref.level < len(ancestors)]
    return any(ancestors[ref.level] == ref.id for ref in found)


def _is_exempt(policy: Policy, flow: Flow) -> bool:
    """Rules 3 and 4."""
    if flow.interface == "lo" and str(flow.source) in ("127.0.0.6", "::6"):
        return True
    flags = policy.flags
    if PolicyFlag.EXCLUDE_UIDS in flags and _has(policy, Number.EXCLUDE_UID, flow.uid):
        return True
    if PolicyFlag.EXCLUDE_GIDS in flags and _has(policy, Number.EXCLUDE_GID, flow.gid):
        return True
    if _below(policy, flow, policy.excluded):
        return True
    lists = PolicyFlag.INCLUDE_UIDS | PolicyFlag.INCLUDE_GIDS
    if not (flags & lists or policy.included):
        return False
    return not (
        (PolicyFlag.INCLUDE_UIDS in flags and _has(policy, Number.INCLUDE_UID, flow.uid))
        or (PolicyFlag.INCLUDE_GIDS in flags and _has(policy, Number.INCLUDE_GID, flow.gid))
        or _below(policy, flow, policy.included)
    )


def _leaving(policy: Policy, flow: Flow) -> Verdict:
    if not _family(policy, flow) or flow.interface in policy.spared_devices:
        return Verdict.PASS
    if flow.mark == policy.steering.mark:
        return Verdict.PASS
    tcp, own = flow.protocol == "tcp", _in(policy, Network.OWN, flow.destination)
    if flow.uid == policy.sidecar_uid or flow.gid == policy.sidecar_gid:
        through = str(flow.source) in ("127.0.0.6", "::6")
        spared = _has(policy, Number.SELF_PORT_SPARED, flow.port)
        if PolicyFlag.SELF in policy.flags and tcp and own and not through and not spared:
            return Verdict.INBOUND
        if PolicyFlag.SIDECAR in policy.flags:
            return Verdict.PASS
    if _is_exempt(policy, flow):
        return Verdict.PASS
    if _is_dns(policy, flow):
        return Verdict.DNS
    if not tcp or PolicyFlag.OUTBOUND not in policy.flags:
        return Verdict.PASS
    if _has(policy, Number.OUT_PORT_SPARED, flow.port) or flow.destination.is_loopback or own:
        return Verdict.PASS
    if _in(policy, Network.SPARED, flow.destination):
        return Verdict.PASS
    wanted = _has(policy, Number.OUT_PORT, flow.port)
    wanted = wanted or _in(policy, Network.OUTBOUND, flow.destination)
    return Verdict.OUTBOUND if wanted else Verdict.PASS


def _arriving(policy: Policy, flow: Flow) -> Verdict:
    index = {device.name: device.index for device in FACTS.devices}.get(flow.interface, 0)
    if not _family(policy, flow):
        return Verdict.PASS
    spared = _has(policy, Number.IN_INTERFACE_SPARED, index)
    if PolicyFlag.INTERFACES in policy.flags and spared:
        return Verdict.PASS
    if flow.interface in policy.bridges and _is_dns(policy, flow):
        return Verdict.DNS
    if flow.protocol != "tcp" or PolicyFlag.INBOUND not in policy.flags or flow.interface == "lo":
        return Verdict.PASS
    if not _in(policy, Network.OWN, flow.destination):
        return Verdict.PASS
    if _has(policy, Number.IN_PORT_SPARED, flow.port):
        return Verdict.PASS
    wanted = PolicyFlag.INBOUND_ALL in policy.flags or _has(policy, Number.IN_PORT, flow.port)
    return Verdict.INBOUND if wanted else Verdict.PASS


def some(values: tuple[Any, ...]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(st.sampled_from(values), max_size=3, unique=True).map(tuple)


@st.composite
def configs(draw: st.DrawFn) -> Config:
    names = (*CGROUPS, "no/such.slice")
    nets = (ip_network("10.50.0.0/16"), ip_network("fd50::/32"))
    ports = (22, 25, 53, 80, 443, 8080)
    include = draw(st.booleans())
    capture = {
        "ipv6": draw(st.sampled_from((None, None, False))),
        "outbound": {
            "cidrs": draw(st.one_of(st.just("*"), some(nets))),
            "exclude_cidrs": draw(some((ip_network("10.50.9.0/24"), ip_network("8.0.0.0/8")))),
            "ports": draw(some(ports)),
            "exclude_ports": draw(some(ports)),
        },
        "inbound": {"ports": draw(st.one_of(st.just("*"), some((22, 80, 443, 15021, 15008))))},
        "owners": {
            "exclude_uids": draw(some((1000, 1001))),
            "exclude_gids": draw(some((1000,))),
            "exclude_cgroups": draw(some(names)),
            "include_uids": draw(some((1000, 0))) if include else (),
            "include_gids": draw(some((1000,))) if include else (),
            "include_cgroups": draw(some(names)) if include else (),
        },
        "interfaces": {"exclude": draw(some(("eth9",))), "bridges": draw(some(("br0",)))},
    }
    servers = st.sampled_from(("all", ("8.8.8.8", "127.0.0.53", "2606::1"), "resolv.conf"))
    dns = {"enabled": draw(st.booleans()), "servers": draw(servers)}
    mode = draw(st.sampled_from(("managed", "managed", "none")))
    return Config.model_validate({"capture": capture, "dns": dns, "sidecar": {"mode": mode}})


@st.composite
def flows(draw: st.DrawFn) -> Flow:
    """Flows as there can be: what is for this host leaves by lo, and no loopback arrives."""
    protocol = draw(st.sampled_from(("tcp", "tcp", "udp")))
    port = draw(st.sampled_from((22, 25, 53, 80, 443, 8080, 15008, 15020, 15021)))
    port = port if protocol == "tcp" else 53
    destination = ip_address(draw(st.sampled_from(OWN + LOOPBACK + FAR + FAR)))
    local = destination.is_loopback or str(destination) in OWN
    four = destination.version == 4
    if draw(st.integers(0, 3)) == 0:
        link = draw(st.sampled_from(("eth0", "eth9", "br0", "lo")))
        if destination.is_loopback:  # a martian: arrives from nowhere
            destination = ip_address(OWN[0] if four else OWN[1])
        source = ip_address("10.9.9.9" if four else "fd99::9")
        return Flow(Hook.PREROUTING, protocol, source, destination, port, link)
    through = local and draw(st.booleans())
    six, usual = ("127.0.0.6", "10.0.0.2") if four else ("::6", "fd10::2")
    return Flow(
        Hook.OUTPUT,
        protocol,
        ip_address(six if through else usual),
        destination,
        port,
        "lo" if local else draw(st.sampled_from(("eth0", "eth9"))),
        draw(st.sampled_from((0, 1000, 1001, 1337))),
        draw(st.sampled_from((0, 1000, 1337))),
        draw(st.sampled_from(("", "a.slice", "a.slice/b.service", "a.slice/x", "d.slice"))),
        draw(st.sampled_from((0, 0, 0x1DC0, 7))),
    )


def looked_at(plan: Plan, flow: Flow) -> bool:
    """Whether the programs of the planes without a gap decide on such a flow."""
    gaps = [gap for gap in placement.gaps(plan) if gap.is_whole and not gap.is_apart]
    lacking = {gap.plane for gap in gaps}
    if str(flow.source) in ("127.0.0.6", "::6") and 3 not in {rule.number for rule in plan.rules}:
        return False  # rule 3 is fixed; without a sidecar nobody has that address
    in_container = flow.hook is Hook.PREROUTING and flow.interface == "br0"
    if flow.protocol == "udp":
        return Plane.DNS not in lacking
    if in_container and flow.port == 53:
        return False  # the gap that is not whole
    return Plane.TCP not in lacking


SHARES = {
    "both": lambda plan: plan,
    "dns": lambda plan: plan.only(Plane.DNS),
    "tcp": lambda plan: plan.only(Plane.TCP),
    "released": lambda plan: plan.released(),
}


@pytest.mark.parametrize("share", SHARES)
@settings(max_examples=150, deadline=None)
@given(configs(), st.lists(flows(), min_size=8, max_size=16))
def test_policy_and_plan_decide_alike(share: str, config: Config, several: list[Flow]) -> None:
    plan = SHARES[share](build(config, FACTS, [ip_address("10.50.0.1"), ip_address("8.8.8.8")]))
    policy = placement.build(plan)
    for flow in several:
        if looked_at(plan, flow):
            assert fate(policy, flow) is scope.decide(plan, flow).verdict, flow


def test_every_rule_of_every_shape_has_its_place_or_a_name(make: Any, shape: str) -> None:
    named = {
        "everything": {
            "capture.interfaces.exclude",
            "capture.interfaces.bridges",
            "DNS over TCP of containers",
            "DNS over TCP, beside capture.interfaces.exclude",
            "dns.servers, while another back end does DNS",
        },
        "tproxy_all_outbound": {"capture.inbound.mode tproxy"},
    }
    assert {gap.what for gap in placement.gaps(make(shape))} == named.get(shape, set())


def test_dns_alone_lacks_no_more_than_dns_over_tcp(make: Any) -> None:
    found = placement.gaps(make("everything").only(Plane.DNS))
    assert len(found) == 2
    for gap in found:
        assert gap.what.startswith("DNS over TCP")
        assert (gap.plane, gap.is_whole) == (Plane.DNS, False)


def test_a_rule_of_another_form_is_named_and_not_guessed(make: Any) -> None:
    plan = make("default")
    odd = Rule(6, Hook.OUTPUT, Verdict.PASS, "a mark that nobody knows", (Mark(9),), "tcp")
    named = {gap.what for gap in placement.gaps(replace(plan, rules=(*plan.rules, odd)))}
    assert named == {"rule 6, a mark that nobody knows"}


def test_more_cgroups_than_fit_are_named() -> None:
    owners = {"exclude_cgroups": [f"s{number}.slice" for number in range(9)]}
    plan = build(Config.model_validate({"capture": {"owners": owners}}), FACTS)
    assert {gap.what for gap in placement.gaps(plan)} == {
        "more than 8 cgroups of owners in one list"
    }


def test_an_included_cgroup_that_does_not_exist_holds_nobody() -> None:
    owners = {"include_cgroups": ["no/such.slice"]}
    policy = placement.build(build(Config.model_validate({"capture": {"owners": owners}}), FACTS))
    assert policy.included == (CgroupRef(NO_CGROUP, 2),)


def test_lists_of_resolvers_cannot_be_spared_for_another_back_end(make: Any) -> None:
    plan = build(Config.model_validate({"dns": {"servers": "resolv.conf"}}), FACTS)
    (gap,) = placement.gaps(plan)
    assert (gap.plane, gap.is_apart) == (Plane.TCP, True)
    assert gap.what == "dns.servers, while another back end does DNS"
    assert [each.what for each in placement.gaps(plan.only(Plane.TCP))] == [gap.what]
