"""Addresses, IPv6, source validation, routes."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from interceptor import config
from interceptor.debug.doctor import network
from interceptor.debug.doctor.check import Check, State
from interceptor.debug.doctor.fact import Facts, Host, Net
from interceptor.host.routechoice import Choice

OWN = ip_address("10.0.0.1")
SYSCTLS = {
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/lo/rp_filter": "0",
    "net/ipv4/conf/eth0/rp_filter": "0",
    "net/ipv6/conf/all/disable_ipv6": "0",
    "net/ipv6/conf/lo/disable_ipv6": "0",
    "net/ipv6/conf/eth0/disable_ipv6": "0",
}
NET = Net(addresses=(OWN,), usual=(OWN,), sysctls=SYSCTLS)


def judge(net: Net, text: str = "", backend: str = "nftables") -> dict[str, Check]:
    facts = Facts(net=net, host=Host(backends=(backend, backend)))
    return {each.name: each for each in network.decide(facts, config.parse(text))}


def states(found: dict[str, Check]) -> dict[str, State]:
    return {name: each.state for name, each in found.items() if each.state is not State.OK}


def with_sysctls(**values: str) -> Net:
    more = {name.replace("__", "/"): value for name, value in values.items()}
    return replace(NET, sysctls={**SYSCTLS, **more})


def test_an_ordinary_host_is_right() -> None:
    assert not states(judge(NET))


def test_ipv6_that_is_disabled_is_told_with_its_cure() -> None:
    found = judge(with_sysctls(net__ipv6__conf__all__disable_ipv6="1"))
    assert states(found) == {"IPv6": State.NOTE}
    assert "net.ipv6.conf.all.disable_ipv6=0" in found["IPv6"].cure


def test_ipv6_that_was_asked_for_and_is_disabled_is_a_fault() -> None:
    net = with_sysctls(net__ipv6__conf__lo__disable_ipv6="1")
    assert states(judge(net, "capture: {ipv6: true}")) == {"IPv6": State.FAULT}


def test_a_kernel_without_ipv6_and_a_device_without_it_are_told_apart() -> None:
    bare = {name: value for name, value in SYSCTLS.items() if "ipv6" not in name}
    assert "started without" in judge(replace(NET, sysctls=bare))["IPv6"].seen
    found = judge(with_sysctls(net__ipv6__conf__eth0__disable_ipv6="1"))
    assert found["IPv6"].seen == "on, but disabled on eth0"


def test_strict_source_validation_beside_policy_routing_drops_answers() -> None:
    net = with_sysctls(net__ipv4__conf__all__rp_filter="1")
    assert not states(judge(net)), "one device, one way"
    found = judge(replace(net, rules=("ip -4 rule 5: from all fwmark 0x9 lookup 99",)))
    assert found["rp_filter"].state is State.WARNING
    assert "strict on eth0" in found["rp_filter"].seen
    assert "rp_filter=2" in found["rp_filter"].cure


def test_strict_on_two_devices_is_a_note() -> None:
    net = with_sysctls(net__ipv4__conf__eth0__rp_filter="1", net__ipv4__conf__eth1__rp_filter="1")
    assert states(judge(net)) == {"rp_filter": State.NOTE}


def test_loose_of_all_makes_strict_of_one_loose() -> None:
    net = with_sysctls(net__ipv4__conf__all__rp_filter="2", net__ipv4__conf__eth0__rp_filter="1")
    assert judge(net)["rp_filter"].seen == "not strict"


def test_containers_need_forwarding() -> None:
    text = "capture: {interfaces: {bridges: [br0]}}"
    assert states(judge(NET, text)) == {"forwarding": State.FAULT}
    assert not states(judge(with_sysctls(net__ipv4__ip_forward="1"), text))


def test_routing_rules_of_others_are_named() -> None:
    rules = tuple(f"ip -4 rule {n}: from all fwmark {n} lookup 51820" for n in range(5))
    found = judge(replace(NET, rules=rules))
    assert states(found) == {"policy routing": State.NOTE}
    assert found["policy routing"].seen.endswith("and 2 more")


def test_another_source_address_than_expected_is_told() -> None:
    vip = ip_address("240.240.0.1")
    other = Choice(vip, ip_address("172.17.0.1"), "docker0")
    found = judge(replace(NET, ways=(("VIPs (IPv4)", other),)))
    assert states(found) == {"way to VIPs (IPv4)": State.NOTE}
    same = Choice(vip, OWN, "eth0")
    assert not states(judge(replace(NET, ways=(("VIPs (IPv4)", same),))))


def test_a_range_without_a_way_is_ours_to_mend_a_cidr_is_not() -> None:
    none = Choice(ip_address("240.240.0.1"), error="Network is unreachable")
    assert not states(judge(replace(NET, ways=(("VIPs (IPv4)", none),))))
    found = judge(replace(NET, ways=(("10.9.0.0/16", none),)))
    assert states(found) == {"way to 10.9.0.0/16": State.WARNING}


def test_addresses_that_are_not_this_host_s_are_told() -> None:
    found = judge(NET, "node: {addresses: [10.0.0.2]}")
    assert states(found)["addresses"] is State.WARNING


def test_a_full_table_of_connections_matters_to_redirects_only() -> None:
    full = with_sysctls(
        net__netfilter__nf_conntrack_count="900", net__netfilter__nf_conntrack_max="1000"
    )
    assert states(judge(full)) == {"conntrack": State.WARNING}
    assert "conntrack" not in judge(full, backend="ebpf")
