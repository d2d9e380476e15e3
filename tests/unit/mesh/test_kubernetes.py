from __future__ import annotations

import pytest

from interceptor.errors import ConfigError
from interceptor.mesh import parse
from interceptor.mesh.model import AppProtocol, Kind, Port
from interceptor.mesh.resource import Resource, Service, Slice, Workloads


def read(head: str, body: str, metadata: str = "name: a") -> Resource:
    text = f"{head}\nmetadata: {{{metadata}}}\n{body}\n"
    ((resource,),) = parse.parse(text.encode(), "f").pieces.values()
    return resource


def service(spec: str, metadata: str = "name: a") -> Service:
    found = read("apiVersion: v1\nkind: Service", f"spec: {spec}", metadata)
    assert isinstance(found, Service)
    return found


def wrong(head: str, body: str, metadata: str = "name: a") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(head, body, metadata)
    return [problem.key for problem in caught.value.problems]


PORTS = "ports: [{port: 80}]"


@pytest.mark.parametrize(
    ("spec", "kind", "addresses"),
    [
        (f"{{{PORTS}}}", Kind.SERVICE, []),
        (f"{{clusterIP: '', {PORTS}}}", Kind.SERVICE, []),
        (f"{{clusterIP: 10.0.0.1, {PORTS}}}", Kind.SERVICE, ["10.0.0.1"]),
        (
            f"{{clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1, 'fd00::1'], {PORTS}}}",
            Kind.SERVICE,
            ["10.0.0.1", "fd00::1"],
        ),
        (f"{{type: NodePort, clusterIPs: ['fd00::1'], {PORTS}}}", Kind.SERVICE, ["fd00::1"]),
        ("{clusterIP: None}", Kind.HEADLESS, []),
        ("{clusterIP: None, clusterIPs: [None]}", Kind.HEADLESS, []),
        ("{type: ExternalName, externalName: Db.Example.}", Kind.EXTERNAL_NAME, []),
    ],
)
def test_a_service_is_what_its_addresses_make_it(
    spec: str, kind: Kind, addresses: list[str]
) -> None:
    found = service(spec)
    assert (found.kind, [str(address) for address in found.addresses]) == (kind, addresses)
    assert found.external_name == ("db.example" if kind is Kind.EXTERNAL_NAME else "")


def test_ports_have_protocol_and_target() -> None:
    found = service(
        "{ports: [{name: http, port: 80, targetPort: web}, {name: x, port: 53, protocol: UDP},"
        " {name: g, port: 90, appProtocol: grpc, targetPort: 91},"
        " {name: s, port: 7, protocol: SCTP}]}"
    )
    assert found.ports == (
        Port("http", 80, AppProtocol.HTTP),
        Port("x", 53, AppProtocol.UDP),
        Port("g", 90, AppProtocol.GRPC),
    )
    assert found.targets == (("http", "web"), ("g", 91))


def test_one_number_may_serve_tcp_and_udp() -> None:
    found = service("{ports: [{name: dns, port: 53}, {name: dns-udp, port: 53, protocol: UDP}]}")
    assert [port.number for port in found.ports] == [53, 53]


def test_istios_export_annotation_is_honoured() -> None:
    annotation = "name: a, annotations: {networking.istio.io/exportTo: '., other'}"
    assert service(f"{{{PORTS}}}", annotation).export_to == (".", "other")


SERVICE = "apiVersion: v1\nkind: Service"
SLICE = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice"
OWNED = "name: a, labels: {kubernetes.io/service-name: a}"


@pytest.mark.parametrize(
    ("head", "body", "metadata", "keys"),
    [
        (SERVICE, f"spec: {{{PORTS}}}", "name: a.b", ["metadata.name"]),
        (SERVICE, f"spec: {{{PORTS}}}", "namespace: a", ["metadata.name"]),
        (SERVICE, "spec: {}", "name: a", ["spec.ports"]),
        (SERVICE, f"spec: {{clusterIP: none, {PORTS}}}", "name: a", ["spec.clusterIP"]),
        (
            SERVICE,
            f"spec: {{clusterIP: 10.0.0.1, clusterIPs: [10.0.0.2], {PORTS}}}",
            "name: a",
            ["spec.clusterIP"],
        ),
        (SERVICE, "spec: {type: ExternalName}", "name: a", ["spec.externalName"]),
        (SERVICE, f"spec: {{type: Other, {PORTS}}}", "name: a", ["spec.type"]),
        (
            SERVICE,
            "spec: {ports: [{port: 1}, {port: 2, name: x}]}",
            "name: a",
            ["spec.ports[0].name"],
        ),
        (
            SERVICE,
            "spec: {ports: [{port: 1, name: x}, {port: 1, name: y}]}",
            "name: a",
            ["spec.ports[1].port"],
        ),
        (
            SERVICE,
            "spec: {ports: [{port: 1, targetPort: 65536}]}",
            "name: a",
            ["spec.ports[0].targetPort"],
        ),
        (
            SERVICE,
            "spec: {ports: [{port: 1, targetPort: 1.5}]}",
            "name: a",
            ["spec.ports[0].targetPort"],
        ),
        (SLICE, "addressType: IPv4", "name: a", ["metadata.labels.kubernetes.io/service-name"]),
        (SLICE, "endpoints: []", OWNED, ["addressType"]),
        (
            SLICE,
            "addressType: IPv4\nendpoints: [{addresses: [10.0.0.1, 'fd00::1']}]",
            OWNED,
            ["endpoints[0].addresses[1]"],
        ),
        (SLICE, "addressType: IPv4\nports: [{port: 0}]", OWNED, ["ports[0].port"]),
        (
            "apiVersion: v1\nkind: Endpoints",
            "subsets: [{addresses: [{ip: x}], notReadyAddresses: [{hostname: y}]}]",
            "name: a",
            ["subsets[0].addresses[0].ip", "subsets[0].notReadyAddresses[0].ip"],
        ),
        (
            "apiVersion: v1\nkind: Pod",
            "status: {podIP: x, podIPs: [{ip: y}]}",
            "name: a",
            ["status.podIP", "status.podIPs[0].ip"],
        ),
    ],
)
def test_what_the_api_server_would_refuse(
    head: str, body: str, metadata: str, keys: list[str]
) -> None:
    assert wrong(head, body, metadata) == keys


def test_a_slice_lists_places_with_their_host_names() -> None:
    found = read(
        SLICE,
        "addressType: IPv6\nports: [{name: http, port: 8080}, {name: any}]\n"
        "endpoints: [{addresses: ['fd00::1'], hostname: a-0, targetRef: {kind: Pod, name: p}},"
        " {addresses: ['fd00::2'], conditions: {ready: false}}]",
        OWNED,
    )
    assert isinstance(found, Slice)
    (name, one), (_, two) = found.endpoints
    assert (name, str(one.address), one.ports, one.ready) == (
        "a-0",
        "fd00::1",
        (("http", 8080),),
        True,
    )
    assert one.origin == "Pod default/p"
    assert not two.ready


def test_a_slice_may_hold_dns_names() -> None:
    found = read(SLICE, "addressType: FQDN\nendpoints: [{addresses: [Db.example]}]", OWNED)
    assert isinstance(found, Slice)
    assert found.endpoints[0][1].address == "db.example"


def pod(body: str) -> Workloads:
    found = read("apiVersion: v1\nkind: Pod", body)
    assert isinstance(found, Workloads)
    return found


def test_a_pod_has_a_workload_for_each_address() -> None:
    found = pod(
        "spec: {hostname: h, subdomain: s, serviceAccountName: sa,"
        " containers: [{ports: [{name: web, containerPort: 81}, {containerPort: 82}]}]}\n"
        "status: {podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}]}"
    )
    assert [str(member.address) for member in found.members] == ["10.0.0.1", "fd00::1"]
    member = found.members[0]
    assert (member.hostname, member.subdomain, member.service_account) == ("h", "s", "sa")
    assert member.ports == (("web", 81),)
    assert member.is_pod
    assert member.ready


@pytest.mark.parametrize("status", ["{}", "{podIP: 10.0.0.1, phase: Succeeded}", "{podIP: ''}"])
def test_a_pod_that_cannot_be_called_is_no_workload(status: str) -> None:
    assert pod(f"status: {status}").members == ()


@pytest.mark.parametrize(
    ("value", "ready"), [("'True'", True), ("'False'", False), ("Unknown", False)]
)
def test_a_pod_is_ready_when_its_condition_says_so(value: str, ready: bool) -> None:
    found = pod(f"status: {{podIP: 10.0.0.1, conditions: [{{type: Ready, status: {value}}}]}}")
    assert found.members[0].ready is ready
