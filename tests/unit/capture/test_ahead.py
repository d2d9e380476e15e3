"""Before which priority others' chains come before ours."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from interceptor.capture import ahead
from interceptor.capture.plan import Flow, Hook

TCP = Flow(Hook.OUTPUT, "tcp", ip_address("192.0.2.1"), ip_address("10.96.0.11"), 9080)
UDP = replace(TCP, protocol="udp", port=53)


def test_netfilter_meets_connections_and_queries_at_its_own_chains() -> None:
    assert ahead.limit(TCP, "nftables") == -101
    assert ahead.limit(UDP, "iptables-nft") == -150


def test_nobody_comes_before_programs_at_connect_and_everybody_at_egress() -> None:
    assert ahead.limit(TCP, "ebpf") is None
    assert ahead.limit(UDP, "ebpf") == ahead.LAST
    assert ahead.observe(TCP, "ebpf") == ()
