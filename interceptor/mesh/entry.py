"""ServiceEntries as a host: one of them, or several of one name joined."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from interceptor.errors import Problem
from interceptor.mesh import endpoint, merge
from interceptor.mesh.model import Address, Endpoint, Host, Kind, Port, Resolution
from interceptor.mesh.resource import ServiceEntry, Targets
from interceptor.mesh.selector import Pick

_DNS = (Resolution.DNS, Resolution.DNS_ROUND_ROBIN)


def build(
    found: Sequence[ServiceEntry], name: str, pick: Pick, vip: tuple[Address, ...]
) -> tuple[Host, list[Problem]]:
    """The host that one or more ServiceEntries make."""
    first = found[0]
    warnings: list[Problem] = []
    endpoints: list[Endpoint] = list(_endpoints(first, name, pick, warnings))
    addresses, networks, ports, origin = first.addresses, first.networks, first.ports, first.origin
    if len(found) > 1:
        for other in found[1:]:
            endpoints += _endpoints(other, name, pick, warnings)
            ports = _joined(ports, first, other, warnings)
        addresses = tuple(dict.fromkeys(a for entry in found for a in entry.addresses))
        networks = tuple(dict.fromkeys(n for entry in found for n in entry.networks))
        origin = ", ".join(entry.origin for entry in found)
    # An entry's own tuple is shared with it, not copied.
    is_own = len(found) == 1 and len(endpoints) == len(first.endpoints)
    host = Host(
        name,
        first.namespace,
        Kind.SERVICE_ENTRY,
        addresses or vip,
        ports,
        first.endpoints if is_own else tuple(dict.fromkeys(endpoints)),
        first.resolution,
        "",
        origin,
        first.mesh_external,
        (),
        networks,
        bool(vip) and not addresses,
        subject_alt_names=tuple(
            dict.fromkeys(name for entry in found for name in entry.subject_alt_names)
        ),
    )
    return host, warnings


def _endpoints(
    entry: ServiceEntry, name: str, pick: Pick, warnings: list[Problem]
) -> Iterable[Endpoint]:
    is_dns = entry.resolution in _DNS
    if entry.selector is None:
        if entry.endpoints or not is_dns:
            return entry.endpoints
        numbers = _numbers(entry.targets)
        return (endpoint.with_ports(Endpoint(name, origin=entry.origin), entry.ports, numbers),)
    found = []
    for workload in pick(entry.namespace, entry.selector):
        if isinstance(workload.address, str) and not is_dns:
            legal = f"an IP address: {entry.resolution.value} does not look names up"
            value = f"{workload.origin}: {workload.address}"
            warnings.append(merge.warning(entry, "spec.workloadSelector", value, legal))
            continue
        numbers = _numbers(entry.targets)
        if not workload.is_pod:
            numbers |= dict(workload.ports)
        found.append(endpoint.of_workload(workload, entry.ports, numbers))
    return found


def _numbers(targets: Targets) -> dict[str, int]:
    return {name: target for name, target in targets if isinstance(target, int)}


def _joined(
    ports: tuple[Port, ...], first: ServiceEntry, other: ServiceEntry, warnings: list[Problem]
) -> tuple[Port, ...]:
    """``ports`` and those of ``other`` that do not contradict them."""
    for key, ours, theirs in (
        ("resolution", first.resolution.value, other.resolution.value),
        ("location", _location(first), _location(other)),
    ):
        if ours != theirs:
            legal = f"{ours}, as in {first.origin}, which counts"
            warnings.append(merge.warning(other, f"spec.{key}", theirs, legal))
    joined = list(ports)
    for port in other.ports:
        clash = next((p for p in joined if p.name == port.name or p.number == port.number), None)
        if clash is None:
            joined.append(port)
        elif (clash.number, clash.protocol) != (port.number, port.protocol):
            legal = f"{clash.name} {clash.number} {clash.protocol.value}, as in {first.origin}"
            value = f"{port.name} {port.number} {port.protocol.value}"
            warnings.append(merge.warning(other, "spec.ports", value, legal + ", which counts"))
    return tuple(joined)


def _location(entry: ServiceEntry) -> str:
    return "MESH_EXTERNAL" if entry.mesh_external else "MESH_INTERNAL"
