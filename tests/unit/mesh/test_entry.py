from __future__ import annotations

from interceptor.errors import Problem
from interceptor.mesh import entry, parse
from interceptor.mesh.model import Host, Labels, Resolution, Workload
from interceptor.mesh.resource import ServiceEntry
from interceptor.mesh.selector import Index

HEAD = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\n"


def read(spec: str, name: str = "a") -> ServiceEntry:
    text = f"{HEAD}metadata: {{name: {name}}}\nspec: {{hosts: [a.example], {spec}}}\n"
    ((found,),) = parse.parse(text.encode(), "f.yaml").pieces.values()
    assert isinstance(found, ServiceEntry)
    return found


def join(*specs: str, workloads: str = "") -> tuple[Host, list[Problem]]:
    index = Index()
    for piece in parse.parse(workloads.encode(), "w.yaml").pieces.values():
        for found in piece:
            index.add(found)  # type: ignore[arg-type]
    found = [read(spec, "abc"[number]) for number, spec in enumerate(specs)]
    return entry.build(found, "a.example", index.pick, ())


def nobody(namespace: str, selector: Labels) -> list[Workload]:
    raise AssertionError("nothing selects here")


def test_one_entry_lends_its_tuples_to_its_host() -> None:
    found = read("resolution: STATIC, endpoints: [{address: 10.0.0.1}]")
    host, warnings = entry.build([found], "a.example", nobody, ())
    assert host.endpoints is found.endpoints
    assert host.ports is found.ports
    assert not warnings


def test_entries_of_one_host_are_joined() -> None:
    host, warnings = join(
        "resolution: STATIC, location: MESH_INTERNAL, addresses: [10.0.0.1],"
        " ports: [{number: 80, name: http}], endpoints: [{address: 10.1.0.1}]",
        "resolution: STATIC, location: MESH_INTERNAL, addresses: [10.0.0.2, 10.0.0.1, 10.2.0.0/16],"
        " ports: [{number: 80, name: http}, {number: 90, name: grpc}],"
        " endpoints: [{address: 10.1.0.2}]",
    )
    assert [str(address) for address in host.addresses] == ["10.0.0.1", "10.0.0.2"]
    assert [str(network) for network in host.networks] == ["10.2.0.0/16"]
    assert [port.name for port in host.ports] == ["http", "grpc"]
    assert [str(endpoint.address) for endpoint in host.endpoints] == ["10.1.0.1", "10.1.0.2"]
    assert host.origin == "ServiceEntry default/a (f.yaml), ServiceEntry default/b (f.yaml)"
    assert not warnings


def test_contradictions_are_warnings_and_the_first_holds() -> None:
    host, warnings = join(
        "resolution: STATIC, location: MESH_INTERNAL, ports: [{number: 80, name: http}]",
        "resolution: DNS, location: MESH_EXTERNAL, ports: [{number: 81, name: http}]",
    )
    assert host.resolution is Resolution.STATIC
    assert not host.mesh_external
    assert [port.number for port in host.ports] == [80]
    first = "as in ServiceEntry default/a (f.yaml), which counts"
    assert [
        (problem.document, problem.key, problem.value, problem.legal) for problem in warnings
    ] == [
        ("ServiceEntry default/b", "spec.resolution", "DNS", f"STATIC, {first}"),
        ("ServiceEntry default/b", "spec.location", "MESH_EXTERNAL", f"MESH_INTERNAL, {first}"),
        ("ServiceEntry default/b", "spec.ports", "http 81 HTTP", f"http 80 HTTP, {first}"),
    ]


WORKLOADS = """apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: vm}
spec: {address: vm.example, labels: {app: x}, ports: {http: 81}}
---
apiVersion: v1
kind: Pod
metadata: {name: pod, labels: {app: x}}
spec: {containers: [{ports: [{name: http, containerPort: 82}]}]}
status: {podIP: 10.0.0.9}
"""
SELECTS = "ports: [{number: 80, name: http, targetPort: 83}], workloadSelector: {labels: {app: x}}"


def test_ports_of_selected_workloads_are_their_own_or_the_target() -> None:
    host, warnings = join(f"resolution: DNS, {SELECTS}", workloads=WORKLOADS)
    (port,) = host.ports
    dialled = {str(endpoint.address): endpoint.port(port) for endpoint in host.endpoints}
    assert dialled == {"vm.example": 81, "10.0.0.9": 83}
    assert not warnings


def test_a_dns_name_is_no_endpoint_of_a_static_entry() -> None:
    host, (problem,) = join(f"resolution: STATIC, {SELECTS}", workloads=WORKLOADS)
    assert [str(endpoint.address) for endpoint in host.endpoints] == ["10.0.0.9"]
    assert problem.value == "WorkloadEntry default/vm (w.yaml): vm.example"
    assert problem.key == "spec.workloadSelector"


def test_a_dns_entry_without_endpoints_dials_its_own_name() -> None:
    host, _ = join("resolution: DNS, ports: [{number: 80, name: http, targetPort: 8080}]")
    (endpoint,) = host.endpoints
    assert endpoint.address == "a.example"
    assert endpoint.port(host.ports[0]) == 8080
