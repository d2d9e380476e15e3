"""The plan: what a configuration captures on a host."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from interceptor.capture.plan import Facts, Plane, Verdict, build
from interceptor.capture.rule import SetName
from interceptor.capture.section import Section, sections
from interceptor.config import Config


def test_mesh_addresses_that_a_range_covers_are_left_out(make: Any) -> None:
    plan = make("default")
    assert plan.networks(SetName.OUTBOUND, 4) == (
        ip_network("240.240.0.0/16"),
        ip_network("192.0.2.7/32"),
    )
    assert ip_network("fd20::7/128") in plan.networks(SetName.OUTBOUND, 6)


def test_everything_is_two_halves_since_an_ipset_takes_no_slash_zero(make: Any) -> None:
    plan = make("tproxy_all_outbound")
    assert [str(network) for network in plan.networks(SetName.OUTBOUND, 4)] == [
        "0.0.0.0/1",
        "128.0.0.0/1",
    ]
    assert plan.places == ()
    same = build(
        Config.model_validate({"capture": {"outbound": {"cidrs": ["0.0.0.0/0"]}}}), Facts()
    )
    assert same.networks(SetName.OUTBOUND, 4) == plan.networks(SetName.OUTBOUND, 4)


@pytest.mark.parametrize(
    ("shape", "planes"),
    [
        ("default", {Plane.DNS, Plane.TCP}),
        ("dns_only", {Plane.DNS}),
        ("tcp_only_ipv4", {Plane.TCP}),
        ("nothing", set()),
    ],
)
def test_planes_follow_the_configuration(make: Any, shape: str, planes: set[Plane]) -> None:
    assert make(shape).planes == planes


def test_ipv6_is_on_where_the_host_has_it_unless_the_configuration_says_otherwise() -> None:
    assert build(Config(), Facts(has_ipv6=False)).families == (4,)
    forced = Config.model_validate({"capture": {"ipv6": True}})
    assert build(forced, Facts(has_ipv6=False)).families == (4, 6)


def test_servers_of_resolv_conf_are_a_set_of_their_own(make: Any) -> None:
    plan = make("dns_only")
    assert plan.networks(SetName.DNS, 4) == (ip_network("127.0.0.53"),)
    assert plan.networks(SetName.DNS, 6) == (ip_network("2606::53"),)


def test_a_vip_range_without_route_gets_one_with_the_host_s_own_source(make: Any) -> None:
    routes = {str(route.destination): route for route in make("default").routes}
    assert routes["240.240.0.0/16"].source == ip_address("10.0.0.2")
    assert routes["2001:2::/48"].source == ip_address("fd10::2")
    assert routes["::6/128"].kind == "local"
    routed = {str(route.destination) for route in build(Config(), Facts()).routes}
    assert routed == {"::6/128"}


def test_a_plane_of_its_own_has_only_what_concerns_it(make: Any) -> None:
    plan = make("everything")
    dns = plan.only(Plane.DNS)
    assert {rule.verdict for rule in dns.rules} == {Verdict.PASS, Verdict.DNS}
    assert max(rule.number for rule in dns.rules) == 5
    assert dns.routes == ()
    tcp = plan.only(Plane.TCP)
    assert Verdict.DNS not in {rule.verdict for rule in tcp.rules}
    assert len(tcp.rules) == len(plan.rules)
    assert not any(section.is_queue for section in sections(tcp))


def test_a_released_plan_keeps_its_chains_and_a_redirect_that_holds_for_nothing(make: Any) -> None:
    plan = make("everything")
    released = plan.released()
    assert sections(released) == sections(plan)
    assert Section.NAT_OUTPUT in sections(released)
    assert released.networks(SetName.OUTBOUND, 4) == ()
    assert released.routes == plan.routes
    assert {rule.number for rule in released.rules} == {7}


def test_exchange_changes_the_mesh_s_part_alone(make: Any) -> None:
    plan = make("default")
    other = plan.exchange([ip_address("192.0.2.8")])
    assert other.fixed == plan.fixed
    assert other.places == (ip_network("192.0.2.8/32"),)
    assert other.rules is plan.rules
