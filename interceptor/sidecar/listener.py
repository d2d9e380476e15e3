"""Listeners for services: one for each address and port, none of them bound.

The listener on 15001 hands a connection over to the one that stands for its
original destination. One for each service, because a change then re-sends one
service and not all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from envoy.config.core.v3 import base_pb2, protocol_pb2
from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm_pb2,
)
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from interceptor.sidecar import accesslog
from interceptor.sidecar.claim import Vip
from interceptor.sidecar.cluster import STAT_END
from interceptor.sidecar.endpoint import socket_address
from interceptor.sidecar.resource import pack

NEVER = Duration()  # Envoy's way to say that a time limit does not apply

# Only what has certainly not reached the application is tried again.
RETRY_ON = "connect-failure,refused-stream,reset-before-request"

# Where hosts share a listener, the access log's service is the route's name.
BY_ROUTE = "%ROUTE_NAME%"


@dataclass(frozen=True, slots=True)
class Target:
    """One host behind a listener: the names it goes by, and its cluster."""

    host: str
    names: tuple[str, ...]
    cluster: str


def build_tcp(vip: Vip, target: Target, access_log: str) -> listener_pb2.Listener:
    """Any connection to ``vip`` goes to the target."""
    return _unbound(vip, tcp_filter(target.cluster, target.host, "outbound", access_log))


def build_http(vip: Vip, targets: Sequence[Target], access_log: str) -> listener_pb2.Listener:
    """Requests to ``vip`` go to the target that bears the name in their Host header.

    The first target also has every name that is nobody's: a request that was
    sent to this address by IP, or with a name of the application's own.
    """
    first = targets[0]
    manager = hcm_pb2.HttpConnectionManager(
        stat_prefix=first.cluster + STAT_END,
        route_config=_routes(vip, targets),
        http_filters=[_ROUTER],
        http_protocol_options=protocol_pb2.Http1ProtocolOptions(
            accept_http_10=True, default_host_for_http_10=first.host
        ),
        access_log=accesslog.build(
            access_log, "outbound", first.host if len(targets) == 1 else BY_ROUTE, http=True
        ),
        use_remote_address=BoolValue(value=False),
        server_header_transformation=hcm_pb2.HttpConnectionManager.PASS_THROUGH,
        upgrade_configs=[hcm_pb2.HttpConnectionManager.UpgradeConfig(upgrade_type="websocket")],
        stream_idle_timeout=NEVER,
    )
    return _unbound(
        vip,
        listener_components_pb2.Filter(
            name="envoy.filters.network.http_connection_manager", typed_config=pack(manager)
        ),
    )


def tcp_filter(
    cluster: str, service: str, direction: str, access_log: str
) -> listener_components_pb2.Filter:
    """Bytes to ``cluster``. Never cut for being idle: the application did not ask for it."""
    proxy = tcp_proxy_pb2.TcpProxy(
        stat_prefix=cluster + STAT_END,
        cluster=cluster,
        idle_timeout=NEVER,
        access_log=accesslog.build(access_log, direction, service),
    )
    return listener_components_pb2.Filter(
        name="envoy.filters.network.tcp_proxy", typed_config=pack(proxy)
    )


def _routes(vip: Vip, targets: Sequence[Target]) -> route_pb2.RouteConfiguration:
    taken: set[str] = set()
    hosts = []
    for index, target in enumerate(targets):
        domains = [name for name in target.names if name not in taken] if len(targets) > 1 else []
        taken.update(domains)
        if index == 0:
            domains.append("*")
        if domains:
            hosts.append(_virtual_host(target, domains))
    return route_pb2.RouteConfiguration(
        name=vip.name,
        virtual_hosts=hosts,
        ignore_port_in_host_matching=True,
        # A cluster that Envoy refused must not take the listener with it.
        validate_clusters=BoolValue(value=False),
    )


def _virtual_host(target: Target, domains: Sequence[str]) -> route_components_pb2.VirtualHost:
    route = route_components_pb2.Route(
        name=target.host,
        match=route_components_pb2.RouteMatch(prefix="/"),
        route=route_components_pb2.RouteAction(
            cluster=target.cluster, timeout=NEVER, retry_policy=_RETRY
        ),
    )
    return route_components_pb2.VirtualHost(name=target.host, domains=domains, routes=[route])


def _unbound(vip: Vip, last: listener_components_pb2.Filter) -> listener_pb2.Listener:
    return listener_pb2.Listener(
        name=vip.name,
        address=socket_address(*vip),
        bind_to_port=BoolValue(value=False),
        traffic_direction=base_pb2.OUTBOUND,
        filter_chains=[listener_components_pb2.FilterChain(filters=[last])],
    )


_ROUTER = hcm_pb2.HttpFilter(
    name="envoy.filters.http.router", typed_config=pack(router_pb2.Router())
)
_RETRY = route_components_pb2.RetryPolicy(
    retry_on=RETRY_ON,
    num_retries=UInt32Value(value=2),
    retry_host_predicate=[
        route_components_pb2.RetryPolicy.RetryHostPredicate(
            name="envoy.retry_host_predicates.previous_hosts",
            typed_config=pack(previous_hosts_pb2.PreviousHostsPredicate()),
        )
    ],
    host_selection_retry_max_attempts=5,
)
