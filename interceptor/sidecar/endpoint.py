"""Endpoints of a host as Envoy's load assignment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import lcm

from envoy.config.core.v3 import address_pb2, base_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2
from google.protobuf.wrappers_pb2 import UInt32Value

from interceptor.mesh.model import Address, Endpoint, Host, Port
from interceptor.sidecar import mtls

# Envoy refuses a locality whose weights add up to more than 2^32 - 1.
WEIGHT_LIMIT = 1 << 20


def socket_address(address: Address | str, port: int) -> address_pb2.Address:
    """An Envoy address; ``address`` may be a name where a cluster resolves it."""
    return address_pb2.Address(
        socket_address=address_pb2.SocketAddress(address=str(address), port_value=port)
    )


def locality(text: str) -> base_pb2.Locality:
    """``region/zone/subzone``, of which the later parts may be missing."""
    region, _, rest = text.partition("/")
    zone, _, sub_zone = rest.partition("/")
    return base_pb2.Locality(region=region, zone=zone, sub_zone=sub_zone)


def weight(endpoint: Endpoint) -> int:
    """Its share of the load: not given counts as 1."""
    return min(max(endpoint.weight, 1), WEIGHT_LIMIT)


def assign(
    name: str, endpoints: Iterable[tuple[Endpoint, int]], *, is_secure: bool = False
) -> endpoint_pb2.ClusterLoadAssignment:
    """The load assignment ``name`` of (endpoint, port to dial), in an order of its own.

    Endpoints that are not ready are left out, and so is a second endpoint at
    the same address and port, which Envoy would count once but log each time.
    Each locality weighs what its endpoints weigh together: load is shared by
    endpoint weight alone. ``is_secure``: those that speak mutual TLS are marked.
    Those behind a gateway of their network are left out unless they do: it knows
    by the TLS that it passes through where to send it (see `through`).
    """
    groups: dict[str, dict[tuple[str, int], Endpoint]] = {}
    seen: set[tuple[str, int]] = set()
    for endpoint, port in through(endpoints, is_secure=is_secure):
        place = str(endpoint.address), port
        if endpoint.ready and place not in seen:
            seen.add(place)
            groups.setdefault(endpoint.locality, {})[place] = endpoint
    assignment = endpoint_pb2.ClusterLoadAssignment(cluster_name=name)
    for where, members in sorted(groups.items()):
        group = assignment.endpoints.add(locality=locality(where) if where else None)
        total = 0
        for (address, port), endpoint in sorted(members.items()):
            share = weight(endpoint)
            total += share
            member = _member(address, port, share)
            if is_secure and endpoint.identity:
                member.metadata.CopyFrom(mtls.metadata(endpoint))
            group.lb_endpoints.append(member)
        group.load_balancing_weight.value = total
    return assignment


def through(
    endpoints: Iterable[tuple[Endpoint, int]], *, is_secure: bool
) -> list[tuple[Endpoint, int]]:
    """The same with gateways in place of what is behind them.

    A gateway weighs what the ready endpoints behind it weigh together, in the locality of the
    first: Envoy takes an address once. Those behind several gateways share theirs out; all
    weights are multiplied, so that a share is a whole number.
    """
    found = list(endpoints)
    counts = {len(endpoint.gateways) for endpoint, _ in found} - {0}
    if not counts:
        return found
    scale = lcm(*counts)
    placed: list[tuple[Endpoint, int]] = []
    behind: dict[tuple[Address, int], tuple[Endpoint, int]] = {}
    for endpoint, port in dict.fromkeys(pair for pair in found if pair[0].ready):
        share = weight(endpoint) * scale
        if not endpoint.gateways:
            placed.append((replace(endpoint, weight=share), port))
        elif is_secure and endpoint.identity:
            for gateway in endpoint.gateways:
                first, total = behind.get(gateway, (endpoint, 0))
                behind[gateway] = first, total + share // len(endpoint.gateways)
    for (address, port), (first, total) in behind.items():
        placed.append((replace(first, address=address, weight=total, gateways=()), port))
    return placed


def _member(address: str, port: int, share: int) -> endpoint_components_pb2.LbEndpoint:
    return endpoint_components_pb2.LbEndpoint(
        endpoint=endpoint_components_pb2.Endpoint(address=socket_address(address, port)),
        load_balancing_weight=UInt32Value(value=share),
    )


def build(
    name: str, host: Host, port: Port, *, is_secure: bool = False
) -> endpoint_pb2.ClusterLoadAssignment:
    """EDS for one port of a host. Endpoints that are names are left out: EDS takes none."""
    return assign(
        name,
        (
            (endpoint, endpoint.port(port))
            for endpoint in host.endpoints
            if not isinstance(endpoint.address, str)
        ),
        is_secure=is_secure,
    )
