from __future__ import annotations

from pathlib import Path

import pytest

from interceptor.errors import ConfigError
from interceptor.mesh import parse
from interceptor.mesh.resource import Group, Resource, Service, ServiceEntry, Slice, Workloads

DATA = Path(__file__).parents[2] / "data/mesh"


def resources(data: bytes) -> list[Resource]:
    return [
        found for piece in parse.parse(data, "/etc/mesh.yaml").pieces.values() for found in piece
    ]


def problems(text: str) -> list[tuple[int, str, str, str, str]]:
    """(line, document, key, value, legal) of everything that is wrong in ``text``."""
    with pytest.raises(ConfigError) as caught:
        parse.parse(text.encode(), "/etc/mesh.yaml")
    assert {problem.where for problem in caught.value.problems} == {"/etc/mesh.yaml"}
    return [(p.line, p.document, p.key, p.value, p.legal) for p in caught.value.problems]


@pytest.mark.parametrize("path", sorted(DATA.iterdir()), ids=lambda path: path.name)
def test_real_documents_are_read(path: Path) -> None:
    assert parse.parse(path.read_bytes(), str(path)).pieces


def test_every_kind_becomes_its_value() -> None:
    found = [
        type(resource)
        for name in ("bookinfo.yaml", "vm.yaml")
        for resource in resources((DATA / name).read_bytes())
    ]
    assert set(found) == {Service, Workloads, Slice, Group, ServiceEntry}


def test_origin_names_document_and_file() -> None:
    (entry,) = resources(
        b"apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: a}\n"
        b"spec: {hosts: [a.example]}\n"
    )
    assert entry.origin == "ServiceEntry default/a (mesh.yaml)"


def test_kinds_of_others_are_passed_over_and_named() -> None:
    found = parse.parse((DATA / "bookinfo.yaml").read_bytes(), "bookinfo.yaml")
    assert found.ignored == ("VirtualService bookinfo/reviews",)


@pytest.mark.parametrize(
    "head",
    [
        "apiVersion: networking.istio.io/v1alpha1\nkind: ServiceEntry",
        "apiVersion: networking.istio.io/v1\nkind: VirtualService",
        "apiVersion: v2\nkind: Service",
        "apiVersion: discovery.k8s.io/v1beta1\nkind: EndpointSlice",
    ],
)
def test_a_known_kind_of_an_unknown_version_is_passed_over(head: str) -> None:
    found = parse.parse(f"{head}\nmetadata: {{name: x}}\nspec: 1\n".encode(), "f")
    assert not found.pieces
    assert len(found.ignored) == 1


@pytest.mark.parametrize("kind", ["List", "ServiceList"])
def test_the_items_of_a_list_are_documents(kind: str) -> None:
    text = f"""apiVersion: v1
kind: {kind}
items:
- apiVersion: v1
  kind: Service
  metadata: {{name: a}}
  spec: {{ports: [{{port: 80}}]}}
- apiVersion: v1
  kind: ConfigMap
  metadata: {{name: b}}
"""
    found = parse.parse(text.encode(), "f")
    assert [type(r) for piece in found.pieces.values() for r in piece] == [Service]
    assert found.ignored == ("ConfigMap default/b",)


def test_null_says_nothing() -> None:
    text = b"""apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: a
  labels:
  annotations: null
spec:
  hosts: [a.example]
  addresses:
  endpoints: ~
  ports:
  - number: 80
    name: http
    targetPort:
"""
    (entry,) = resources(text)
    assert isinstance(entry, ServiceEntry)
    assert entry.addresses == entry.endpoints == entry.targets == ()


def test_unknown_fields_are_fine() -> None:
    text = b"""apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a, creationTimestamp: 2026-01-01T00:00:00Z, generation: 3, managedFields: [{a: 1}]}
spec: {hosts: [a.example], subjectAltNames: [b], unheardOf: {c: 1}}
status: {addresses: [{value: 240.240.0.1}]}
"""
    assert len(resources(text)) == 1


def test_every_problem_of_every_document_is_told_at_once() -> None:
    text = """apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: Reviews_1
  namespace: bookinfo
spec:
  hosts:
  - reviews..example
  - "*"
  ports:
  - number: 70000
    name: http
  - number: "80"
    name: http
    protocol: HTTPX
  resolution: STATC
  location: INSIDE
  endpoints:
  - address: db.example
    ports:
      grpc: 0
  exportTo: ["Bad NS"]
---
apiVersion: v1
kind: Service
metadata:
  name: a
  labels:
    version: 1
spec:
  clusterIP: 10.0.0.300
  ports:
  - targetPort: [1]
---
not a mapping
---
a: [
"""
    document = "ServiceEntry bookinfo/Reviews_1"
    names = "GRPC, GRPC-WEB, HBONE, HTTP, HTTP2, HTTPS, MONGO, MYSQL, REDIS, TCP, TLS, UDP"
    port = "a port number, 1..65535"
    assert problems(text) == [
        (4, document, "metadata.name", "'Reviews_1'", "a name of a-z, 0-9, - and ., at most 253"),
        (8, document, "spec.hosts[0]", "'reviews..example'", "a DNS name, or *. and a DNS name"),
        (9, document, "spec.hosts[1]", "'*'", "a DNS name, or *. and a DNS name"),
        (11, document, "spec.ports[0].number", "70000", port),
        (13, document, "spec.ports[1].number", "'80'", "a whole number"),
        (14, document, "spec.ports[1].name", "'http'", "a name that no other port here has"),
        (15, document, "spec.ports[1].protocol", "'HTTPX'", f"one of {names}"),
        (16, document, "spec.resolution", "'STATC'", "one of NONE, STATIC, DNS, DNS_ROUND_ROBIN"),
        (17, document, "spec.location", "'INSIDE'", "one of MESH_EXTERNAL, MESH_INTERNAL"),
        (21, document, "spec.endpoints[0].ports.grpc", "0", port),
        (22, document, "spec.exportTo[0]", "'Bad NS'", "., *, ~ or a namespace"),
        (29, "Service default/a", "metadata.labels.version", "1", "a string, in quotes"),
        (31, "Service default/a", "spec.clusterIP", "'10.0.0.300'", "an IP address"),
        (33, "Service default/a", "spec.ports[0].targetPort", "[1]", "a whole number or a string"),
        (33, "Service default/a", "spec.ports[0].port", "(missing)", port),
        (35, "", "(document)", "'not a mapping'", "a mapping with apiVersion and kind"),
        (38, "", "(document)", "did not find expected node content", "YAML or JSON"),
    ]


def test_what_hangs_on_a_wrong_key_is_told_once_that_key_is_right() -> None:
    text = """apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec:
  hosts: [a.example]
  resolution: STATIC
  endpoints:
  - address: db.example
"""
    legal = "an IP address; a DNS name needs resolution DNS or DNS_ROUND_ROBIN"
    key = "spec.endpoints[0].address"
    assert problems(text) == [(8, "ServiceEntry default/a", key, "'db.example'", legal)]


def test_a_problem_in_a_list_has_the_line_of_its_item() -> None:
    text = """apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Service
  metadata: {name: a}
  spec:
    ports:
    - port: 80
- apiVersion: v1
  kind: Service
  metadata: {name: b}
  spec:
    ports:
    - port: 0
"""
    port = "a port number, 1..65535"
    assert problems(text) == [(15, "Service default/b", "spec.ports[0].port", "0", port)]


def test_a_problem_in_json_has_its_line() -> None:
    text = (
        '{\n "apiVersion": "v1",\n "kind": "Pod",\n "metadata": {},\n "status": {"podIP": "x"}\n}'
    )
    assert problems(text) == [
        (
            4,
            "Pod default/(no name)",
            "metadata.name",
            "(missing)",
            "a name of a-z, 0-9, - and ., at most 253",
        ),
        (5, "Pod default/(no name)", "status.podIP", "'x'", "an IP address"),
    ]


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("{}", ["apiVersion", "kind"]),
        ("kind: Service", ["apiVersion"]),
        ("apiVersion: 1\nkind: Pod", ["apiVersion"]),
        ("apiVersion: v1\nkind: [Pod]", ["kind"]),
        ("- a\n- b", ["(document)", "(document)"]),
        ("just text", ["(document)"]),
    ],
)
def test_what_is_no_kubernetes_document_is_a_problem(text: str, keys: list[str]) -> None:
    assert [problem[2] for problem in problems(text)] == keys


def test_known_pieces_are_not_read_again() -> None:
    text = (DATA / "vm.yaml").read_bytes()
    before = parse.parse(text, "vm.yaml")
    after = parse.parse(text.replace(b"192.0.2.12", b"192.0.2.13"), "vm.yaml", before.pieces)
    same = [digest for digest in after.pieces if after.pieces[digest] is before.pieces.get(digest)]
    assert len(after.pieces) == 5
    assert len(same) == 4


def test_the_later_of_two_documents_of_one_name_counts() -> None:
    text = """apiVersion: v1
kind: Service
metadata: {name: a}
spec: {clusterIP: 10.0.0.1, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: a}
spec: {clusterIP: 10.0.0.2, ports: [{port: 80}]}
"""
    found = parse.parse(text.encode(), "f.yaml")
    (service,) = [r for piece in found.pieces.values() for r in piece]
    assert isinstance(service, Service)
    assert [str(address) for address in service.addresses] == ["10.0.0.2"]
    assert found.ignored == ("Service default/a (said again below)",)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("wrong", ["[{a: {b: 1}}]", "[[x]]", "{1: [x]}", "[null, {}]"])
def test_what_cannot_be_mended_is_told_and_ends(wrong: str) -> None:
    text = (
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: a}\n"
        f"spec: {{hosts: [a.example], addresses: {wrong}}}\n"
    )
    assert any(key.startswith("spec.addresses") for _, _, key, _, _ in problems(text))
