"""A core Service as a host: its endpoints, and for a headless one its Pods' names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from interceptor.mesh import endpoint
from interceptor.mesh.model import Address, Endpoint, Host, Kind, Workload
from interceptor.mesh.resource import Service, Slice
from interceptor.mesh.selector import Pick


def build(
    found: Service, name: str, slices: Sequence[Slice], pick: Pick, vip: tuple[Address, ...]
) -> tuple[Host, list[Host]]:
    """The host of a Service, and for a headless one those of its Pods."""
    placed = _service_endpoints(found, slices, pick)
    if found.publish_not_ready:  # as the control plane marks them in its slices
        placed = [(hostname, replace(place, ready=True)) for hostname, place in placed]
    endpoints = tuple(place for _, place in placed)
    addresses = found.addresses or vip
    pods: list[Host] = []
    if found.kind is Kind.HEADLESS:
        answered = [pair for pair in placed if pair[1].ready]
        addresses = endpoint.ips(place for _, place in answered)
        pods = _pods(found, name, answered)
    host = Host(
        name,
        found.namespace,
        found.kind,
        addresses,
        found.ports,
        endpoints,
        external_name=found.external_name,
        origin=found.origin,
        virtual=bool(vip) and not found.addresses and found.kind is Kind.SERVICE,
    )
    return host, pods


def _service_endpoints(
    found: Service, slices: Sequence[Slice], pick: Pick
) -> list[tuple[str, Endpoint]]:
    """(host name, endpoint): from slices, else Endpoints, else selected Pods; WorkloadEntries too.

    Kubernetes writes slices for Pods only, so they stand for the Pods; a
    WorkloadEntry that the Service selects is one of its endpoints beside them.
    """
    kept = [part for part in slices if not part.is_endpoints] or list(slices)
    placed = [
        (hostname, endpoint.with_ports(place, found.ports, dict(place.ports)))
        for part in kept
        for hostname, place in part.endpoints
    ]
    for workload in pick(found.namespace, found.selector) if found.selector else ():
        if kept and workload.is_pod:
            continue
        named = workload.subdomain == found.name
        ports = _service_targets(found, workload)
        place = endpoint.of_workload(workload, found.ports, ports)
        placed.append((workload.hostname if named else "", place))
    first = {(place.address, place.ports): (name, place) for name, place in reversed(placed)}
    return list(reversed(first.values()))


def _service_targets(found: Service, workload: Workload) -> dict[str, int]:
    """Name of a port → number to dial on ``workload``, as far as it is said."""
    named, targets = dict(workload.ports), dict(found.targets)
    ports: dict[str, int] = {}
    for port in found.ports:
        target = targets.get(port.name)
        if not workload.is_pod and port.name in named:
            ports[port.name] = named[port.name]
        elif isinstance(target, int):
            ports[port.name] = target
        elif target is not None and target in named:
            ports[port.name] = named[target]
    return ports


def _pods(found: Service, name: str, placed: Iterable[tuple[str, Endpoint]]) -> list[Host]:
    """``<hostname>.<service host>`` for each endpoint with a host name."""
    groups: dict[str, list[Endpoint]] = {}
    for hostname, place in placed:
        if hostname:
            groups.setdefault(hostname, []).append(place)
    return [
        Host(
            f"{hostname}.{name}",
            found.namespace,
            Kind.POD,
            endpoint.ips(members),
            found.ports,
            tuple(members),
            origin=found.origin,
        )
        for hostname, members in groups.items()
    ]
