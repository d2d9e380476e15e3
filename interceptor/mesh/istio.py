"""networking.istio.io documents to values: ServiceEntry, WorkloadEntry, WorkloadGroup.

Each function takes a document whose shape is right (see `shape`), notes what
Istio would refuse in it, and returns what it says. What it returns counts only
where nothing was noted.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from sys import intern

from pydantic import ValidationError

from interceptor.config import readiness
from interceptor.config.membership import Probe
from interceptor.mesh import field, identity, protocol, shape
from interceptor.mesh.field import Note, Notes
from interceptor.mesh.model import (
    Address,
    Endpoint,
    Network,
    Port,
    Resolution,
    Workload,
    WorkloadGroup,
)
from interceptor.mesh.resource import Group, ServiceEntry, Targets, Workloads

_BY_US = "Value error, "  # what pydantic puts before a sentence of ours
_NETWORK = "topology.istio.io/network"
_AUTO_ADDRESS = "networking.istio.io/enable-autoallocate-ip"
_DNS = (Resolution.DNS, Resolution.DNS_ROUND_ROBIN)
_PROTOCOLS = ", ".join(sorted(key.upper() for key in protocol.KNOWN))


def service_entry(found: shape.ServiceEntry, origin: str, notes: Notes) -> ServiceEntry:
    metadata, spec = found.get("metadata", {}), found.get("spec", {})
    namespace = intern(metadata.get("namespace", "default"))
    resolution = Resolution[spec.get("resolution", "NONE")]
    selector = spec.get("workloadSelector")
    hosts = tuple(
        [
            field.host(notes, f"spec.hosts[{index}]", text)
            for index, text in enumerate(spec.get("hosts", ()))
        ]
    )
    addresses, networks = _addresses(notes, spec.get("addresses", ()))
    ports, targets = _ports(notes, spec.get("ports", ()))
    places = (
        _endpoint(notes, index, raw, ports, targets, resolution, origin, namespace)
        for index, raw in enumerate(spec.get("endpoints", ()))
    )
    endpoints = tuple([place for place in places if place is not None])
    _check_whole(notes, spec, hosts, networks, resolution)
    return ServiceEntry(
        namespace=namespace,
        origin=origin,
        hosts=hosts,
        addresses=addresses,
        networks=networks,
        ports=ports,
        targets=targets,
        resolution=resolution,
        mesh_external=spec.get("location", "MESH_EXTERNAL") == "MESH_EXTERNAL",
        endpoints=endpoints,
        selector=None if selector is None else field.labels(selector.get("labels", {})),
        export_to=field.visibility(notes, "spec.exportTo", spec.get("exportTo", [])),
        wants_address=metadata.get("labels", {}).get(_AUTO_ADDRESS, "true").lower() != "false",
        subject_alt_names=tuple(spec.get("subjectAltNames", ())),
    )


def _addresses(
    notes: Notes, texts: Iterable[str]
) -> tuple[tuple[Address, ...], tuple[Network, ...]]:
    addresses: list[Address] = []
    networks: list[Network] = []
    for index, text in enumerate(texts):
        found = field.address_or_network(notes, f"spec.addresses[{index}]", text)
        if isinstance(found, Address):
            addresses.append(found)
        elif found is not None:
            networks.append(found)
    return tuple(dict.fromkeys(addresses)), tuple(dict.fromkeys(networks))


def _ports(notes: Notes, found: Iterable[shape.EntryPort]) -> tuple[tuple[Port, ...], Targets]:
    ports: list[Port] = []
    targets: list[tuple[str, int | str]] = []
    for index, raw in enumerate(found):
        key = f"spec.ports[{index}]"
        name, number, given = raw.get("name", ""), raw.get("number", 0), raw.get("protocol", "")
        if not name:
            notes.append(Note(f"{key}.name", field.MISSING, "a name, unique in this ServiceEntry"))
        if not number:
            notes.append(Note(f"{key}.number", field.MISSING, "a port number, 1..65535"))
        if given and given.lower() not in protocol.KNOWN:
            notes.append(Note(f"{key}.protocol", repr(given), f"one of {_PROTOCOLS}"))
        port = _port(name, number, given)
        ports.append(port)
        target = raw.get("targetPort", number)
        if target != number:
            targets.append((port.name, target))
    if len(ports) > 1:
        named = [(f"spec.ports[{i}].name", port.name) for i, port in enumerate(ports) if port.name]
        field.unique(notes, named, "a name that no other port here has")
        numbers = [(f"spec.ports[{i}].number", p.number) for i, p in enumerate(ports) if p.number]
        field.unique(notes, numbers, "a number that no other port here has")
    return _shared(tuple(ports)), tuple(targets)


@lru_cache(maxsize=4096)
def _port(name: str, number: int, given: str) -> Port:
    return Port(name, number, protocol.of_entry_port(name, given))


@lru_cache(maxsize=4096)
def _shared(ports: tuple[Port, ...]) -> tuple[Port, ...]:
    """One tuple for all hosts whose ports are alike; there are few kinds of them."""
    return ports


def _endpoint(
    notes: Notes,
    index: int,
    found: shape.EntryEndpoint,
    ports: tuple[Port, ...],
    targets: Targets,
    resolution: Resolution,
    origin: str,
    namespace: str,
) -> Endpoint | None:
    key = f"spec.endpoints[{index}]"
    address = field.endpoint_address(
        notes, f"{key}.address", found.get("address", ""), resolution in _DNS
    )
    own = found.get("ports", {})
    for name in own:
        if all(port.name != name for port in ports):
            legal = "the name of one of spec.ports: " + ", ".join(port.name for port in ports)
            notes.append(Note(f"{key}.ports.{name}", repr(own[name]), legal))
    if address is None:
        return None
    dialled = {**dict(targets), **own} if own or targets else {}
    return Endpoint(
        address,
        tuple([(name, number) for name, number in dialled.items() if isinstance(number, int)]),
        found.get("weight", 0),
        found.get("locality", ""),
        found.get("network", "") or found.get("labels", {}).get(_NETWORK, ""),
        found.get("serviceAccount", ""),
        True,
        origin,
        identity.choose(found.get("labels", {}), namespace, found.get("serviceAccount", "")),
    )


def _check_whole(
    notes: Notes,
    spec: shape.EntrySpec,
    hosts: tuple[str, ...],
    networks: tuple[Network, ...],
    resolution: Resolution,
) -> None:
    """What Istio asks of several fields together."""
    endpoints = spec.get("endpoints", ())
    if not hosts:
        notes.append(Note("spec.hosts", field.MISSING, "at least one host"))
    if len(hosts) > 1:
        keyed = [(f"spec.hosts[{index}]", host) for index, host in enumerate(hosts)]
        field.unique(notes, keyed, "each host once")
    if endpoints and "workloadSelector" in spec:
        legal = "endpoints or workloadSelector, not both"
        notes.append(Note("spec.workloadSelector", repr(spec["workloadSelector"]), legal))
    if networks and resolution in _DNS:
        legal = f"addresses without CIDRs: resolution is {resolution.value}"
        notes.append(Note("spec.addresses", repr(spec.get("addresses")), legal))
    if endpoints and resolution is Resolution.NONE:
        legal = "STATIC, DNS or DNS_ROUND_ROBIN: there are endpoints"
        notes.append(Note("spec.resolution", "NONE", legal))
    if resolution is Resolution.DNS_ROUND_ROBIN and len(endpoints) > 1:
        legal = "one endpoint at most: resolution is DNS_ROUND_ROBIN"
        notes.append(Note("spec.endpoints", f"{len(endpoints)} endpoints", legal))
    if resolution in _DNS and not endpoints and "workloadSelector" not in spec:
        for index, host in enumerate(hosts):
            if host.startswith("*."):
                legal = f"no wildcard, or endpoints: resolution is {resolution.value}"
                notes.append(Note(f"spec.hosts[{index}]", repr(host), legal))


def workload_entry(found: shape.WorkloadEntry, origin: str, notes: Notes) -> Workloads:
    metadata, spec = found.get("metadata", {}), found.get("spec", {})
    name, namespace = metadata.get("name", ""), intern(metadata.get("namespace", "default"))
    address = field.endpoint_address(notes, "spec.address", spec.get("address", ""), names=True)
    conditions = found.get("status", {}).get("conditions", ())
    # Istio's health checks of auto-registered VMs are kept as this condition.
    unhealthy = any(
        condition.get("type") == "Healthy" and condition.get("status") == "False"
        for condition in conditions
    )
    # Istio lets a workload be selected by the labels of its metadata or its spec.
    labels = {**metadata.get("labels", {}), **spec.get("labels", {})}
    member = Workload(
        name=name,
        namespace=namespace,
        address=address if address is not None else "",
        labels=field.labels(labels),
        ports=tuple(spec.get("ports", {}).items()),
        weight=spec.get("weight", 0),
        locality=spec.get("locality", ""),
        network=spec.get("network", "") or labels.get(_NETWORK, ""),
        service_account=spec.get("serviceAccount", ""),
        ready=not unhealthy,
        origin=origin,
    )
    return Workloads(name, namespace, origin, (member,))


def workload_group(found: shape.WorkloadGroup, origin: str, notes: Notes) -> Group:
    metadata, spec = found.get("metadata", {}), found.get("spec", {})
    template = spec.get("template", {})
    if template.get("address"):
        legal = "no address: each VM brings its own"
        notes.append(Note("spec.template.address", repr(template["address"]), legal))
    labels = {**spec.get("metadata", {}).get("labels", {}), **template.get("labels", {})}
    group = WorkloadGroup(
        name=metadata.get("name", ""),
        namespace=intern(metadata.get("namespace", "default")),
        labels=field.labels(labels),
        ports=tuple(template.get("ports", {}).items()),
        weight=template.get("weight", 0),
        locality=template.get("locality", ""),
        network=template.get("network", ""),
        service_account=template.get("serviceAccount", ""),
        origin=origin,
        probe=_probe(spec["probe"], notes) if spec.get("probe") else None,
    )
    return Group(group.namespace, origin, group)


def _probe(tree: dict[str, object], notes: Notes) -> Probe | None:
    """A ReadinessProbe; what is wrong with it is told by our names of its keys."""
    try:
        return Probe.model_validate(readiness.translate(tree))
    except ValidationError as error:
        for each in error.errors():
            key = ".".join(map(str, ("spec.probe", *each["loc"])))
            notes.append(Note(key, repr(each["input"]), each["msg"].removeprefix(_BY_US)))
    return None
