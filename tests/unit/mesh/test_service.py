from __future__ import annotations

from interceptor.mesh import parse, service
from interceptor.mesh.model import Host
from interceptor.mesh.resource import Service, Slice, Workloads
from interceptor.mesh.selector import Index


def build(spec: str, others: str = "") -> tuple[Host, list[Host]]:
    text = f"apiVersion: v1\nkind: Service\nmetadata: {{name: s}}\nspec: {spec}\n---\n{others}"
    index, slices, found = Index(), list[Slice](), list[Service]()
    for piece in parse.parse(text.encode(), "f.yaml").pieces.values():
        for resource in piece:
            if isinstance(resource, Workloads):
                index.add(resource)
            elif isinstance(resource, Slice):
                slices.append(resource)
            elif isinstance(resource, Service):
                found.append(resource)
    return service.build(found[0], "s.default.svc.cluster.local", slices, index.pick, ())


def dialled(host: Host) -> dict[str, int]:
    return {str(endpoint.address): endpoint.port(host.ports[0]) for endpoint in host.endpoints}


POD = """apiVersion: v1
kind: Pod
metadata: {name: p, labels: {app: x}}
spec: {hostname: h, subdomain: s, containers: [{ports: [{name: web, containerPort: 81}]}]}
status: {podIP: 10.0.0.1}
---
"""
VM = """apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: vm}
spec: {address: 10.0.0.2, labels: {app: x}, ports: {PORTS}}
---
"""
SLICE = """apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: s-1, labels: {kubernetes.io/service-name: s}}
addressType: IPv4
ports: [{name: http, port: 82}]
endpoints: [{addresses: [10.0.0.3], hostname: h}]
---
"""
ENDPOINTS = """apiVersion: v1
kind: Endpoints
metadata: {name: s}
subsets: [{addresses: [{ip: 10.0.0.4}], ports: [{name: http, port: 83}]}]
---
"""
SPEC = "{selector: {app: x}, ports: [{port: 80, name: http, targetPort: web}]}"


def test_a_named_target_is_looked_up_on_each_pod() -> None:
    assert dialled(build(SPEC, POD)[0]) == {"10.0.0.1": 81}


def test_a_workload_entry_is_dialled_where_it_says_itself() -> None:
    assert dialled(build(SPEC, VM.replace("PORTS", "http: 90, web: 91"))[0]) == {"10.0.0.2": 90}
    assert dialled(build(SPEC, VM.replace("PORTS", "web: 91"))[0]) == {"10.0.0.2": 91}
    assert dialled(build(SPEC, VM.replace("PORTS", ""))[0]) == {"10.0.0.2": 80}


def test_slices_stand_for_the_pods_and_workload_entries_are_added() -> None:
    host, _ = build(SPEC, POD + VM.replace("PORTS", "") + SLICE + ENDPOINTS)
    assert dialled(host) == {"10.0.0.3": 82, "10.0.0.2": 80}


def test_endpoints_count_where_there_is_no_slice() -> None:
    assert dialled(build(SPEC, POD + ENDPOINTS)[0]) == {"10.0.0.4": 83}


def test_a_service_without_selector_selects_nothing() -> None:
    assert dialled(build("{ports: [{port: 80, name: http}]}", POD)[0]) == {}


def test_one_place_in_two_slices_is_one_endpoint() -> None:
    host, _ = build(SPEC, SLICE + SLICE.replace("s-1", "s-2"))
    assert len(host.endpoints) == 1


def test_only_a_headless_service_names_its_pods() -> None:
    headless = SPEC.replace("{selector", "{clusterIP: None, selector")
    assert build(SPEC, POD)[1] == []
    (pod,) = build(headless, POD)[1]
    assert pod.name == "h.s.default.svc.cluster.local"
    assert [str(address) for address in pod.addresses] == ["10.0.0.1"]
    assert [port.name for port in pod.ports] == ["http"]
    elsewhere = POD.replace("subdomain: s", "subdomain: t")
    assert build(headless, elsewhere)[1] == []
    (sliced,) = build(headless, SLICE)[1]
    assert [str(address) for address in sliced.addresses] == ["10.0.0.3"]


def test_an_unready_place_is_neither_answered_nor_named() -> None:
    headless = SPEC.replace("{selector", "{clusterIP: None, selector")
    text = POD.replace("10.0.0.1", "10.0.0.1, conditions: [{type: Ready, status: 'False'}]")
    host, pods = build(headless, text)
    assert (host.addresses, pods) == ((), [])
    assert [endpoint.ready for endpoint in host.endpoints] == [False]
    published = headless.replace("{cluster", "{publishNotReadyAddresses: true, cluster")
    host, pods = build(published, text)
    assert len(host.addresses) == len(pods) == 1
    assert host.endpoints[0].ready
