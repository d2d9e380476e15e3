"""Listeners for services."""

from __future__ import annotations

from ipaddress import ip_address

from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm_pb2,
)
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2

from interceptor.sidecar import listener
from interceptor.sidecar.claim import Vip
from interceptor.sidecar.listener import Target

VIP = Vip(ip_address("10.96.0.1"), 80)
ONE = Target("one.example.com", ("one.example.com", "shared"), "outbound|80||one.example.com")
TWO = Target("two.example.com", ("two.example.com", "shared"), "outbound|80||two.example.com")


def manager(*targets: Target) -> hcm_pb2.HttpConnectionManager:
    found = hcm_pb2.HttpConnectionManager()
    packed = listener.build_http(VIP, targets, "/log").filter_chains[0].filters[0].typed_config
    assert packed.Unpack(found)
    return found


def domains(*targets: Target) -> dict[str, list[str]]:
    hosts = manager(*targets).route_config.virtual_hosts
    return {host.name: list(host.domains) for host in hosts}


def test_a_host_alone_takes_every_name() -> None:
    assert domains(ONE) == {"one.example.com": ["*"]}


def test_hosts_that_share_are_told_apart_and_no_name_is_there_twice() -> None:
    """Envoy refuses a listener in which a name stands twice."""
    assert domains(ONE, TWO) == {
        "one.example.com": ["one.example.com", "shared", "*"],
        "two.example.com": ["two.example.com"],
    }


def test_a_listener_is_not_bound() -> None:
    for made in (listener.build_http(VIP, [ONE], ""), listener.build_tcp(VIP, ONE, "")):
        assert made.bind_to_port.value is False
        assert made.HasField("bind_to_port")
        assert made.name == "10.96.0.1_80"


def test_no_time_limit_of_ours_cuts_a_request_or_a_connection() -> None:
    made = manager(ONE)
    route = made.route_config.virtual_hosts[0].routes[0].route
    for limit in (made.stream_idle_timeout, route.timeout):
        assert limit.ToNanoseconds() == 0
    assert made.HasField("stream_idle_timeout")
    assert route.HasField("timeout")
    proxy = tcp_proxy_pb2.TcpProxy()
    assert listener.tcp_filter("c", "s", "outbound", "").typed_config.Unpack(proxy)
    assert proxy.HasField("idle_timeout")


def test_without_an_access_log_there_is_none() -> None:
    assert (
        not listener.build_tcp(VIP, ONE, "")
        .filter_chains[0]
        .filters[0]
        .typed_config.value.count(b"access_log")
    )
    assert manager(ONE).access_log
