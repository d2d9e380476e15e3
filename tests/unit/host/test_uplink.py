"""By which addresses others reach a host, told by the ways that the kernel would take."""

from __future__ import annotations

from ipaddress import ip_address

from interceptor.host import uplink
from interceptor.host.routechoice import Choice

BRIDGES = {"docker0", "br0"}


def way(source: str, device: str = "eth0") -> Choice:
    return Choice(ip_address("192.0.2.1"), ip_address(source), device)


def choose(asked: list[Choice], default: list[Choice], others: list[Choice]) -> list[str]:
    return [str(each) for each in uplink.choose(asked, default, others, BRIDGES)]


def test_the_way_to_the_control_plane_counts_before_the_default_route() -> None:
    assert choose([way("10.0.0.2", "eth1")], [way("192.168.1.2")], []) == ["10.0.0.2"]


def test_each_family_has_its_own_way_and_ipv4_comes_first() -> None:
    found = choose([way("fd10::2")], [way("10.0.0.2"), way("2001:db8::2")], [])
    assert found == ["10.0.0.2", "fd10::2"]


def test_link_local_and_loopback_are_nobody_s_address() -> None:
    ways = [way("127.0.0.1", "lo"), way("fe80::1"), way("169.254.3.4"), way("::1", "lo")]
    assert choose(ways, ways, ways) == []


def test_a_control_plane_in_a_container_here_does_not_make_docker0_ours() -> None:
    assert choose([way("172.17.0.1", "docker0")], [way("10.0.0.2")], []) == ["10.0.0.2"]
    assert choose([way("172.17.0.1", "docker0")], [], []) == []


def test_an_uplink_that_is_a_port_of_a_bridge_is_told_by_the_default_route() -> None:
    assert choose([], [way("10.0.0.2", "br0")], [way("10.9.0.2", "eth1")]) == ["10.0.0.2"]


def test_without_any_route_out_it_is_the_first_address_that_is_no_bridge_s() -> None:
    lost = Choice(ip_address("192.0.2.1"), error="Network is unreachable")
    others = [way("127.0.0.1", "lo"), way("172.17.0.1", "docker0"), way("10.0.0.2")]
    assert choose([lost], [lost], others) == ["10.0.0.2"]


def test_bridges_are_what_ip_tells() -> None:
    assert uplink.parse_bridges('[{"ifname":"docker0"},{}]') == {"docker0"}
    assert uplink.parse_bridges("") == set()
