"""Clusters: one for each port of a host, and the few that are always there.

Names follow Istio (``outbound|9080||reviews.bookinfo.svc.cluster.local``), so
that dashboards and eyes find what they know.
"""

from __future__ import annotations

import enum
from ipaddress import IPv4Address, IPv6Address

from envoy.config.cluster.v3 import circuit_breaker_pb2, cluster_pb2
from envoy.config.core.v3 import (
    address_pb2,
    config_source_pb2,
    extension_pb2,
    protocol_pb2,
)
from envoy.extensions.network.dns_resolver.cares.v3 import cares_dns_resolver_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import UInt32Value

from interceptor.mesh.model import Address, AppProtocol, Endpoint, Host, Kind, Port, Resolution
from interceptor.sidecar import endpoint, mtls
from interceptor.sidecar.resource import pack
from interceptor.sidecar.setting import Settings

PASSTHROUGH = "PassthroughCluster"
BLACKHOLE = "BlackHoleCluster"
INBOUND_PASSTHROUGH = "InboundPassthroughCluster"

# By these sources the capture rules know what has been through inbound already.
INBOUND_SOURCE4 = IPv4Address("127.0.0.6")
INBOUND_SOURCE6 = IPv6Address("::6")

# Envoy's own limit of 1024 connections is meant for a proxy in front of one
# service; a transparent one must not refuse what the host alone would not.
UNLIMITED = 0xFFFFFFFF

HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
STAT_END = ";"  # ends a service name in a statistic, where dots cannot tell


class Discovery(enum.Enum):
    """How a cluster finds its endpoints; the values are Envoy's."""

    EDS = cluster_pb2.Cluster.EDS
    STRICT_DNS = cluster_pb2.Cluster.STRICT_DNS
    LOGICAL_DNS = cluster_pb2.Cluster.LOGICAL_DNS
    ORIGINAL_DST = cluster_pb2.Cluster.ORIGINAL_DST


def outbound_name(host: str, port: int) -> str:
    """Name of the cluster for one port of a host."""
    return f"outbound|{port}||{host}"


def inbound_name(host: str, port: int) -> str:
    """Name of the cluster for a service of this VM. ``port`` is what the application listens on."""
    return f"inbound|{port}||{host}"


def choose(host: Host) -> Discovery:
    """How the endpoints of a host are found. Of a headless service the client chose one itself."""
    if host.kind is Kind.HEADLESS or host.resolution is Resolution.NONE:
        return Discovery.ORIGINAL_DST
    if host.resolution is Resolution.DNS_ROUND_ROBIN and len(host.endpoints) <= 1:
        return Discovery.LOGICAL_DNS
    if host.resolution in (Resolution.DNS, Resolution.DNS_ROUND_ROBIN):
        return Discovery.STRICT_DNS
    return Discovery.EDS


def build(host: Host, port: Port, settings: Settings) -> cluster_pb2.Cluster:
    """The cluster for one port of a host."""
    name = outbound_name(host.name, port.number)
    discovery = choose(host)
    cluster = _plain(name, discovery, settings)
    if discovery is Discovery.EDS:
        cluster.eds_cluster_config.CopyFrom(_EDS)
    elif discovery is not Discovery.ORIGINAL_DST:
        _resolve(cluster, host, port, settings)
    if port.protocol.is_http:
        cluster.typed_extension_protocol_options[HTTP_OPTIONS].CopyFrom(
            _HTTP1 if port.protocol is AppProtocol.HTTP else _HTTP2
        )
    if mtls.is_used(host, settings):
        mtls.secure(cluster, host, port, settings)
    return cluster


def passthrough(settings: Settings) -> cluster_pb2.Cluster:
    """To wherever the application was going."""
    return _plain(PASSTHROUGH, Discovery.ORIGINAL_DST, settings)


def blackhole(settings: Settings) -> cluster_pb2.Cluster:
    """To nowhere: a cluster without endpoints, on which a connection is reset at once."""
    return cluster_pb2.Cluster(
        name=BLACKHOLE,
        type=cluster_pb2.Cluster.STATIC,
        connect_timeout=_timeout(settings),
    )


def inbound(name: str, settings: Settings) -> cluster_pb2.Cluster:
    """To the local application, from a source that the capture rules leave alone."""
    cluster = _plain(name, Discovery.ORIGINAL_DST, settings)
    if settings.transparent and settings.keep_client:
        return cluster
    bind = cluster.upstream_bind_config
    bind.source_address.CopyFrom(_any_port(INBOUND_SOURCE4))
    bind.freebind.value = True
    if settings.ipv6:
        bind.extra_source_addresses.add().address.CopyFrom(_any_port(INBOUND_SOURCE6))
    return cluster


def _any_port(address: Address) -> address_pb2.SocketAddress:
    """Zero is said outright: Envoy refuses an address without a port."""
    return address_pb2.SocketAddress(address=str(address), port_value=0)


def _plain(name: str, discovery: Discovery, settings: Settings) -> cluster_pb2.Cluster:
    """A cluster with what all have in common.

    Round robin, because it shares by weight exactly and whatever the number of
    open requests. Keep-alive finds the peers that vanished, as there is no idle
    time limit on plain TCP.
    """
    original = discovery is Discovery.ORIGINAL_DST
    cluster = cluster_pb2.Cluster(
        name=name,
        alt_stat_name=name + STAT_END,
        type=discovery.value,
        connect_timeout=_timeout(settings),
        lb_policy=(
            cluster_pb2.Cluster.CLUSTER_PROVIDED if original else cluster_pb2.Cluster.ROUND_ROBIN
        ),
        circuit_breakers=_BREAKERS,
    )
    cluster.upstream_connection_options.tcp_keepalive.SetInParent()
    return cluster


def _timeout(settings: Settings) -> Duration:
    duration = Duration()
    duration.FromMilliseconds(settings.connect_timeout_ms)
    return duration


def _resolve(cluster: cluster_pb2.Cluster, host: Host, port: Port, settings: Settings) -> None:
    """Endpoints by name, the host itself where none are given.

    IPv4 first: a VM without an IPv6 uplink must not be sent to AAAA. Envoy's
    queries are exempt from capture by its uid, so that they reach the real
    server and never get our own VIP as an answer.
    """
    members = host.endpoints or (Endpoint(host.name),)
    places = ((member, member.port(port)) for member in members)
    is_secure = mtls.is_used(host, settings)
    cluster.load_assignment.CopyFrom(endpoint.assign(cluster.name, places, is_secure=is_secure))
    cluster.dns_lookup_family = cluster_pb2.Cluster.V4_PREFERRED
    cluster.respect_dns_ttl = True
    resolver = cares_dns_resolver_pb2.CaresDnsResolverConfig(reinit_channel_on_timeout=True)
    for server in settings.resolvers:
        resolver.resolvers.append(endpoint.socket_address(server, 53))
    cluster.typed_dns_resolver_config.CopyFrom(
        extension_pb2.TypedExtensionConfig(
            name="envoy.network.dns_resolver.cares", typed_config=pack(resolver)
        )
    )


def _breakers() -> circuit_breaker_pb2.CircuitBreakers:
    limit = UInt32Value(value=UNLIMITED)
    return circuit_breaker_pb2.CircuitBreakers(
        thresholds=[
            circuit_breaker_pb2.CircuitBreakers.Thresholds(
                max_connections=limit,
                max_pending_requests=limit,
                max_requests=limit,
                max_retries=limit,
            )
        ]
    )


_BREAKERS = _breakers()
_EDS = cluster_pb2.Cluster.EdsClusterConfig(
    eds_config=config_source_pb2.ConfigSource(
        ads=config_source_pb2.AggregatedConfigSource(),
        resource_api_version=config_source_pb2.V3,
        # Half of Envoy's default: without us for so long, a new service goes on with nothing.
        initial_fetch_timeout=Duration(seconds=7),
    )
)
# Upstream speaks what the client spoke; a port that is named http2 or grpc always HTTP/2.
_HTTP1 = pack(
    http_protocol_options_pb2.HttpProtocolOptions(
        use_downstream_protocol_config=(
            http_protocol_options_pb2.HttpProtocolOptions.UseDownstreamHttpConfig(
                http_protocol_options=protocol_pb2.Http1ProtocolOptions(),
                http2_protocol_options=protocol_pb2.Http2ProtocolOptions(),
            )
        )
    )
)
_HTTP2 = pack(
    http_protocol_options_pb2.HttpProtocolOptions(
        explicit_http_config=http_protocol_options_pb2.HttpProtocolOptions.ExplicitHttpConfig(
            http2_protocol_options=protocol_pb2.Http2ProtocolOptions()
        )
    )
)
