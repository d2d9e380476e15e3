"""Kubernetes' documents to values: Service, Endpoints, EndpointSlice, Pod.

Like `istio`: shapes in, values out, and a note of everything that the API
server would refuse.
"""

from __future__ import annotations

from collections.abc import Iterable
from sys import intern

from interceptor.mesh import field, protocol, shape
from interceptor.mesh.field import Note, Notes
from interceptor.mesh.model import Address, Endpoint, Gateways, Kind, Port, Workload
from interceptor.mesh.resource import Service, Slice, Targets, Workloads

_EXPORT_TO = "networking.istio.io/exportTo"  # Istio's annotation on core Services
_NETWORK = "topology.istio.io/network"
_GATEWAY_PORT = "networking.istio.io/gatewayPort"
GATEWAY_PORT = 15443  # where east-west gateways listen for TLS that they pass through
_SERVICE_NAME = "kubernetes.io/service-name"


def service(found: shape.Service, origin: str, notes: Notes) -> Service:
    metadata, spec = found.get("metadata", {}), found.get("spec", {})
    name, external_name = metadata.get("name", ""), ""
    if name:
        field.label(notes, "metadata.name", name, "a DNS label")
    kind, addresses = _cluster_ips(notes, spec)
    if spec.get("type") == "ExternalName":
        kind, addresses = Kind.EXTERNAL_NAME, ()
        external_name = field.dns_name(notes, "spec.externalName", spec.get("externalName", ""))
    ports, targets = _service_ports(notes, spec.get("ports", []))
    if not ports and kind is Kind.SERVICE:
        notes.append(Note("spec.ports", field.MISSING, "at least one port"))
    export_to = metadata.get("annotations", {}).get(_EXPORT_TO, "")
    visible = [part.strip() for part in export_to.split(",") if part.strip()]
    return Service(
        name=name,
        namespace=intern(metadata.get("namespace", "default")),
        origin=origin,
        kind=kind,
        addresses=addresses,
        ports=ports,
        targets=targets,
        selector=field.labels(spec.get("selector", {})),
        export_to=field.visibility(notes, f"metadata.annotations.{_EXPORT_TO}", visible),
        external_name=external_name,
        publish_not_ready=spec.get("publishNotReadyAddresses", False),
        network=metadata.get("labels", {}).get(_NETWORK, ""),
        gateways=_gateways(notes, found),
    )


def _gateways(notes: Notes, found: shape.Service) -> Gateways:
    """Where an east-west gateway's Service is called from outside; none for any other."""
    metadata = found.get("metadata", {})
    labels, annotations = metadata.get("labels", {}), metadata.get("annotations", {})
    if _NETWORK not in labels:
        return ()
    text = labels.get(_GATEWAY_PORT) or annotations.get(_GATEWAY_PORT) or str(GATEWAY_PORT)
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        key = "labels" if _GATEWAY_PORT in labels else "annotations"
        notes.append(Note(f"metadata.{key}.{_GATEWAY_PORT}", repr(text), "a port, 1..65535"))
        return ()
    ingress = found.get("status", {}).get("loadBalancer", {}).get("ingress", [])
    keyed = [
        (f"status.loadBalancer.ingress[{index}].ip", place["ip"])
        for index, place in enumerate(ingress)
        if place.get("ip")
    ]
    external = found.get("spec", {}).get("externalIPs", [])
    keyed += [(f"spec.externalIPs[{index}]", text) for index, text in enumerate(external)]
    places = [field.address(notes, key, text) for key, text in keyed]
    return tuple((place, int(text)) for place in places if place is not None)


def _cluster_ips(notes: Notes, spec: shape.ServiceSpec) -> tuple[Kind, tuple[Address, ...]]:
    """Kind and addresses; no clusterIP yet means that we allocate a VIP."""
    first, others = spec.get("clusterIP", ""), spec.get("clusterIPs", [])
    if first == "None" or others == ["None"]:
        return Kind.HEADLESS, ()
    keyed = [("spec.clusterIP", first)] if first else []
    keyed += [(f"spec.clusterIPs[{index}]", text) for index, text in enumerate(others)]
    found = [field.address(notes, key, text) for key, text in keyed]
    if first and others and first != others[0]:
        legal = f"the first of spec.clusterIPs, {others[0]!r}"
        notes.append(Note("spec.clusterIP", repr(first), legal))
    return Kind.SERVICE, tuple(dict.fromkeys(address for address in found if address is not None))


def _service_ports(
    notes: Notes, found: list[shape.ServicePort]
) -> tuple[tuple[Port, ...], Targets]:
    ports: list[Port] = []
    targets: list[tuple[str, int | str]] = []
    taken: list[tuple[str, object]] = []
    for index, raw in enumerate(found):
        key = f"spec.ports[{index}]"
        name, number = raw.get("name", ""), raw.get("port", 0)
        transport, target = raw.get("protocol", "TCP"), raw.get("targetPort", 0)
        if not number:
            notes.append(Note(f"{key}.port", field.MISSING, "a port number, 1..65535"))
        if not name and len(found) > 1:
            notes.append(Note(f"{key}.name", field.MISSING, "a name: there are several ports"))
        if isinstance(target, int) and not 0 <= target <= 65535:
            legal = "a port number, 1..65535, or the name of a container's port"
            notes.append(Note(f"{key}.targetPort", repr(target), legal))
        taken.append((f"{key}.port", (number, transport)))
        if transport == "SCTP":  # neither Envoy nor this agent carries it
            continue
        kind = protocol.of_service_port(name, raw.get("appProtocol", ""), transport)
        ports.append(Port(name, number, kind))
        if target and target != number:
            targets.append((name, target))
    named = [(f"spec.ports[{i}].name", raw["name"]) for i, raw in enumerate(found) if "name" in raw]
    field.unique(notes, named, "a name that no other port here has")
    field.unique(notes, taken, "a number and protocol that no other port here has")
    return tuple(ports), tuple(targets)


def endpoint_slice(found: shape.EndpointSlice, origin: str, notes: Notes) -> Slice:
    metadata = found.get("metadata", {})
    labels = metadata.get("labels", {})
    service_name = labels.get(_SERVICE_NAME, "")
    if not service_name:
        key = f"metadata.labels.{_SERVICE_NAME}"
        notes.append(Note(key, field.MISSING, "the name of the Service that these endpoints serve"))
    if "addressType" not in found:
        notes.append(Note("addressType", field.MISSING, "one of IPv4, IPv6, FQDN"))
    ports = _slice_ports(found.get("ports", ()))
    endpoints: list[tuple[str, Endpoint]] = []
    for index, raw in enumerate(found.get("endpoints", ())):
        ready = raw.get("conditions", {}).get("ready", True)
        place = _place(raw.get("targetRef", {}), metadata, origin)
        for number, text in enumerate(raw.get("addresses", ())):
            key = f"endpoints[{index}].addresses[{number}]"
            address = _slice_address(notes, key, text, found.get("addressType", ""))
            network = labels.get(_NETWORK, "")
            endpoint = Endpoint(address, ports, network=network, ready=ready, origin=place)
            endpoints.append((raw.get("hostname", ""), endpoint))
    return Slice(
        metadata.get("name", ""),
        intern(metadata.get("namespace", "default")),
        origin,
        service_name,
        False,
        tuple(endpoints),
    )


def _slice_address(notes: Notes, key: str, text: str, kind: str) -> Address | str:
    if kind == "FQDN":
        return field.dns_name(notes, key, text)
    address = field.address(notes, key, text)
    if address is not None and kind and field.is_v4(address) != (kind == "IPv4"):
        notes.append(Note(key, repr(text), f"an {kind} address, as addressType says"))
    return address if address is not None else ""


def _slice_ports(found: Iterable[shape.SlicePort]) -> tuple[tuple[str, int], ...]:
    return tuple([(raw.get("name", ""), raw["port"]) for raw in found if "port" in raw])


def _place(target: shape.Reference, metadata: shape.Metadata, origin: str) -> str:
    if target.get("kind") == "Pod" and target.get("name"):
        return f"Pod {metadata.get('namespace', 'default')}/{target['name']}"
    return origin


def endpoints(found: shape.Endpoints, origin: str, notes: Notes) -> Slice:
    metadata = found.get("metadata", {})
    name = metadata.get("name", "")
    places: list[tuple[str, Endpoint]] = []
    for index, subset in enumerate(found.get("subsets", ())):
        ports = _slice_ports(subset.get("ports", ()))
        for part, ready in (("addresses", True), ("notReadyAddresses", False)):
            members = subset.get("addresses", [])
            if not ready:
                members = subset.get("notReadyAddresses", [])
            for number, raw in enumerate(members):
                key = f"subsets[{index}].{part}[{number}].ip"
                address = field.address(notes, key, raw.get("ip", ""))
                if address is not None:
                    place = _place(raw.get("targetRef", {}), metadata, origin)
                    endpoint = Endpoint(address, ports, ready=ready, origin=place)
                    places.append((raw.get("hostname", ""), endpoint))
    return Slice(
        name, intern(metadata.get("namespace", "default")), origin, name, True, tuple(places)
    )


def pod(found: shape.Pod, origin: str, notes: Notes) -> Workloads:
    """A Pod without an address yet, or one that has ended, has no members."""
    metadata, spec = found.get("metadata", {}), found.get("spec", {})
    status = found.get("status", {})
    name, namespace = metadata.get("name", ""), intern(metadata.get("namespace", "default"))
    keyed = [("status.podIP", status["podIP"])] if status.get("podIP") else []
    keyed += [
        (f"status.podIPs[{index}].ip", raw.get("ip", ""))
        for index, raw in enumerate(status.get("podIPs", ()))
    ]
    read = [field.address(notes, key, text) for key, text in keyed]
    addresses = tuple(dict.fromkeys(address for address in read if address is not None))
    labels, ports = field.labels(metadata.get("labels", {})), _container_ports(spec)
    if status.get("phase") in ("Succeeded", "Failed") or metadata.get("deletionTimestamp"):
        addresses = ()
    unready = any(
        condition.get("type") == "Ready" and condition.get("status") != "True"
        for condition in status.get("conditions", ())
    )
    members = tuple(
        Workload(
            name=name,
            namespace=namespace,
            address=address,
            labels=labels,
            ports=ports,
            network=metadata.get("labels", {}).get(_NETWORK, ""),
            service_account=spec.get("serviceAccountName", ""),
            is_pod=True,
            ready=not unready,
            hostname=spec.get("hostname", ""),
            subdomain=spec.get("subdomain", ""),
            origin=origin,
        )
        for address in addresses
    )
    return Workloads(name, namespace, origin, members)


def _container_ports(spec: shape.PodSpec) -> tuple[tuple[str, int], ...]:
    """The named ones: only they can be a Service's target by name."""
    return tuple(
        (raw["name"], raw["containerPort"])
        for container in spec.get("containers", ())
        for raw in container.get("ports", ())
        if raw.get("name") and "containerPort" in raw
    )
