"""Clusters."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from envoy.extensions.network.dns_resolver.cares.v3 import cares_dns_resolver_pb2

from interceptor.mesh.model import AppProtocol, Endpoint, Host, Kind, Port, Resolution
from interceptor.sidecar import cluster
from interceptor.sidecar.cluster import Discovery
from interceptor.sidecar.setting import Settings

PORT = Port("http", 80, AppProtocol.HTTP)
HOST = Host("a.example.com", "ns", Kind.SERVICE_ENTRY, (ip_address("240.240.0.1"),), (PORT,))
TWO = (Endpoint("x.example.com"), Endpoint("y.example.com"))


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (HOST, Discovery.EDS),
        (replace(HOST, kind=Kind.HEADLESS), Discovery.ORIGINAL_DST),
        (replace(HOST, resolution=Resolution.NONE), Discovery.ORIGINAL_DST),
        (replace(HOST, resolution=Resolution.DNS), Discovery.STRICT_DNS),
        (replace(HOST, resolution=Resolution.DNS_ROUND_ROBIN), Discovery.LOGICAL_DNS),
        (
            replace(HOST, resolution=Resolution.DNS_ROUND_ROBIN, endpoints=TWO),
            Discovery.STRICT_DNS,
        ),
    ],
)
def test_resolution_decides_how_endpoints_are_found(host: Host, expected: Discovery) -> None:
    assert cluster.choose(host) is expected


def test_a_host_without_endpoints_is_resolved_by_its_own_name() -> None:
    made = cluster.build(replace(HOST, resolution=Resolution.DNS), PORT, Settings())
    (group,) = made.load_assignment.endpoints
    address = group.lb_endpoints[0].endpoint.address.socket_address
    assert (address.address, address.port_value) == ("a.example.com", 80)


def test_given_resolvers_are_asked_instead_of_those_of_the_host() -> None:
    settings = Settings(resolvers=(ip_address("192.0.2.53"),))
    made = cluster.build(replace(HOST, resolution=Resolution.DNS), PORT, settings)
    resolver = cares_dns_resolver_pb2.CaresDnsResolverConfig()
    assert made.typed_dns_resolver_config.typed_config.Unpack(resolver)
    assert [item.socket_address.address for item in resolver.resolvers] == ["192.0.2.53"]


def test_a_proxy_that_nobody_asked_for_limits_nothing() -> None:
    (limits,) = cluster.build(HOST, PORT, Settings()).circuit_breakers.thresholds
    assert limits.max_connections.value == cluster.UNLIMITED


def test_inbound_connections_have_a_source_that_capture_knows_in_both_families() -> None:
    bind = cluster.inbound("inbound|80||a", Settings()).upstream_bind_config
    assert bind.source_address.address == "127.0.0.6"
    assert [item.address.address for item in bind.extra_source_addresses] == ["::6"]
    without = cluster.inbound("inbound|80||a", Settings(ipv6=False)).upstream_bind_config
    assert not without.extra_source_addresses
