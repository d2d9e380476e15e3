"""Facts of a host that is made for it, and the support that is found by trying."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from interceptor.capture import backend, fact
from interceptor.config import Config

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def host(namespaces: Callable[[str], Any]) -> Any:
    namespace = namespaces("fact")
    namespace.sh(
        "ip link add d0 type veth peer name d1; ip link set d1 up; ip link set d0 up;"
        "ip addr add 10.0.0.2/24 dev d0; ip addr add fd10::2/64 dev d0 nodad"
    )
    return namespace


def test_a_host_without_default_route_has_no_way_to_a_vip(host: Any, tmp_path: Path) -> None:
    conf = tmp_path / "resolv.conf"
    conf.write_text("nameserver 127.0.0.53\n")
    config = Config.model_validate({"dns": {"resolv_conf": str(conf)}})
    facts = host.call(fact.facts, config)
    assert {ip_address("10.0.0.2"), ip_address("fd10::2")} <= set(facts.own_addresses)
    assert facts.servers == (ip_address("127.0.0.53"),)
    assert (facts.routed4, facts.routed6, facts.has_ipv6) == (False, False, True)
    assert facts.route_source4 == ip_address("10.0.0.2")
    assert facts.route_source6 == ip_address("fd10::2")


def test_with_a_default_route_there_is_one(host: Any) -> None:
    host.sh("ip route add default via 10.0.0.1")
    try:
        facts = host.call(fact.facts, Config())
        assert (facts.routed4, facts.routed6) == (True, False)
    finally:
        host.sh("ip route del default")


def test_node_addresses_are_what_a_vip_s_route_has_as_source(host: Any) -> None:
    config = Config.model_validate({"node": {"addresses": ["10.0.0.77"]}})
    assert host.call(fact.facts, config).route_source4 == ip_address("10.0.0.77")


def test_ipv6_that_is_switched_off_is_no_ipv6(namespaces: Callable[[str], Any]) -> None:
    namespace = namespaces("four")
    namespace.sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=1")
    assert not namespace.call(fact.facts, Config()).has_ipv6


def test_support_is_what_really_works_here_and_trying_leaves_no_trace(host: Any) -> None:
    before = host.sh("nft list ruleset; iptables-legacy-save; ipset list")
    support = host.call(fact.support, Config())
    assert host.sh("nft list ruleset; iptables-legacy-save; ipset list") == before
    assert support.nft_works is bool(shutil.which("nft"))
    assert support.iptables_nft_works
    assert support.default in ("nft", "legacy")
    assert backend.choose("auto", "auto", support).why


def test_rules_of_others_are_counted(host: Any) -> None:
    host.sh("iptables-nft -t raw -A OUTPUT -j ACCEPT; iptables-nft -t raw -N INTERCEPTOR_X")
    try:
        assert host.call(fact.support, Config()).rules_nft == 1
    finally:
        host.sh("iptables-nft -t raw -F; iptables-nft -t raw -X")
