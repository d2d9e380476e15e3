"""The two listeners that capture redirects to, and the VM's own services behind 15006."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address

from envoy.config.core.v3 import base_pb2, socket_option_pb2
from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.extensions.filters.listener.original_dst.v3 import original_dst_pb2
from envoy.extensions.filters.listener.original_src.v3 import original_src_pb2
from google.protobuf.wrappers_pb2 import UInt32Value

from interceptor.mesh.model import Address, Host
from interceptor.sidecar import admission, claim, cluster
from interceptor.sidecar.endpoint import socket_address
from interceptor.sidecar.listener import tcp_filter
from interceptor.sidecar.resource import pack
from interceptor.sidecar.setting import Settings

OUTBOUND = "virtualOutbound"
INBOUND = "virtualInbound"
UNKNOWN = "-"  # the service in the access log where the mesh knows none

SOL_SOCKET = 1  # include/uapi/asm-generic/socket.h
SO_KEEPALIVE = 9


def build_outbound(settings: Settings) -> list[listener_pb2.Listener]:
    """Port 15001: on loopback, and by itself on each bridge.

    What no service's listener takes over passes through or is dropped, by
    configuration.
    """
    listeners = [_outbound(OUTBOUND, settings.outbound_addresses, settings)]
    for address in settings.bridge_addresses:
        listeners.append(_outbound(f"{OUTBOUND}_{address}", (address,), settings))
    return listeners


def build_inbound(settings: Settings, services: Mapping[int, str]) -> listener_pb2.Listener:
    """Port 15006. ``services`` maps the port of an application on this VM to the host it serves.

    Bound to every address: REDIRECT sends an incoming connection to the address
    of the interface it came in by. Never handed over to another listener (no
    use_original_dst): a headless service with this VM as an endpoint has one
    for this very address, which leads back here.
    """
    wildcards: tuple[Address, ...] = (IPv4Address(0),)
    if settings.ipv6:
        wildcards += (IPv6Address(0),)
    listener = _bound(INBOUND, wildcards, settings.inbound_port, base_pb2.INBOUND)
    listener.transparent.value = settings.transparent
    if settings.transparent and settings.keep_client:
        listener.listener_filters.append(_original_source(settings.transparent_mark))
    listener.socket_options.append(_KEEPALIVE)
    listener.filter_chains.extend(_blackholes(settings, "inbound"))
    for port, host in sorted(services.items()):
        name = cluster.inbound_name(host, port)
        listener.filter_chains.append(
            _chain(name, port, tcp_filter(name, host, "inbound", settings.access_log))
        )
    listener.default_filter_chain.filters.append(
        tcp_filter(cluster.INBOUND_PASSTHROUGH, UNKNOWN, "inbound", settings.access_log)
    )
    if settings.trust_domain:
        admission.secure(listener, settings)
    return listener


def choose(hosts: Iterable[Host], settings: Settings) -> dict[int, str]:
    """Application port on this VM → the host it serves; of several the first by name."""
    services: dict[int, str] = {}
    for host in sorted(hosts, key=lambda host: host.name):
        for port in claim.ports(host):
            for endpoint in host.endpoints:
                if endpoint.address in settings.own_addresses:
                    services.setdefault(endpoint.port(port), host.name)
    for reserved in (settings.outbound_port, settings.inbound_port):
        services.pop(reserved, None)
    return services


def is_local(host: Host, settings: Settings) -> bool:
    """Whether this VM is one of the endpoints of ``host``."""
    return any(endpoint.address in settings.own_addresses for endpoint in host.endpoints)


def _outbound(
    name: str, addresses: tuple[Address, ...], settings: Settings
) -> listener_pb2.Listener:
    listener = _bound(name, addresses, settings.outbound_port, base_pb2.OUTBOUND)
    listener.use_original_dst.value = True
    listener.filter_chains.extend(_blackholes(settings, "outbound"))
    target = cluster.PASSTHROUGH if settings.passthrough else cluster.BLACKHOLE
    listener.default_filter_chain.filters.append(
        tcp_filter(target, UNKNOWN, "outbound", settings.access_log)
    )
    return listener


def _bound(
    name: str, addresses: tuple[Address, ...], port: int, direction: int
) -> listener_pb2.Listener:
    first, *others = addresses
    return listener_pb2.Listener(
        name=name,
        address=socket_address(first, port),
        additional_addresses=[
            listener_pb2.AdditionalAddress(address=socket_address(other, port)) for other in others
        ],
        listener_filters=[_ORIGINAL_DST],
        traffic_direction=direction,
    )


def _blackholes(settings: Settings, direction: str) -> list[listener_components_pb2.FilterChain]:
    """Without these a connection to one of our own ports has itself as its
    destination, and Envoy dials itself until it runs out of sockets."""
    return [
        _chain(
            f"self-{port}",
            port,
            tcp_filter(cluster.BLACKHOLE, UNKNOWN, direction, settings.access_log),
        )
        for port in (settings.outbound_port, settings.inbound_port)
    ]


def _chain(
    name: str, port: int, last: listener_components_pb2.Filter
) -> listener_components_pb2.FilterChain:
    return listener_components_pb2.FilterChain(
        name=name,
        filter_chain_match=listener_components_pb2.FilterChainMatch(
            destination_port=UInt32Value(value=port)
        ),
        filters=[last],
    )


def _original_source(mark: int) -> listener_components_pb2.ListenerFilter:
    """Dial the application from the client's own address."""
    return listener_components_pb2.ListenerFilter(
        name="envoy.filters.listener.original_src",
        typed_config=pack(original_src_pb2.OriginalSrc(mark=mark)),
    )


_ORIGINAL_DST = listener_components_pb2.ListenerFilter(
    name="envoy.filters.listener.original_dst", typed_config=pack(original_dst_pb2.OriginalDst())
)
_KEEPALIVE = socket_option_pb2.SocketOption(
    description="find clients that vanished",
    level=SOL_SOCKET,
    name=SO_KEEPALIVE,
    int_value=1,
    state=socket_option_pb2.SocketOption.STATE_LISTENING,
)
