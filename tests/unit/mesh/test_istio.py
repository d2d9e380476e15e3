from __future__ import annotations

import pytest

from interceptor.errors import ConfigError
from interceptor.mesh import parse
from interceptor.mesh.model import AppProtocol, Port, Resolution
from interceptor.mesh.resource import Group, Resource, ServiceEntry, Workloads


def read(kind: str, spec: str, metadata: str = "name: a") -> Resource:
    head = f"apiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{{metadata}}}"
    text = f"{head}\nspec: {spec}\n"
    ((resource,),) = parse.parse(text.encode(), "f").pieces.values()
    return resource


def entry(spec: str, metadata: str = "name: a") -> ServiceEntry:
    found = read("ServiceEntry", spec, metadata)
    assert isinstance(found, ServiceEntry)
    return found


def wrong(kind: str, spec: str, metadata: str = "name: a") -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        read(kind, spec, metadata)
    return [(problem.key, problem.legal) for problem in caught.value.problems]


def test_defaults_are_those_of_istio() -> None:
    found = entry("{hosts: [a.example]}")
    assert found.namespace == "default"
    assert found.resolution is Resolution.NONE
    assert found.mesh_external
    assert found.selector is None
    assert found.wants_address


def test_hosts_lose_their_case_and_final_dot() -> None:
    assert entry("{hosts: [A.Example., '*.B.example']}").hosts == ("a.example", "*.b.example")


def test_addresses_and_cidrs_are_kept_apart() -> None:
    found = entry(
        "{hosts: [a.example], addresses: [10.0.0.1, 10.1.0.5/16, 'fd00::/8', 10.2.0.1/32]}"
    )
    assert [str(address) for address in found.addresses] == ["10.0.0.1", "10.2.0.1"]
    assert [str(network) for network in found.networks] == ["10.1.0.0/16", "fd00::/8"]


def test_ports_know_protocol_and_target() -> None:
    found = entry(
        "{hosts: [a.example], ports: [{number: 80, name: web, protocol: HTTP, targetPort: 8080}]}"
    )
    assert found.ports == (Port("web", 80, AppProtocol.HTTP),)
    assert found.targets == (("web", 8080),)


def test_equal_port_lists_are_one_object() -> None:
    spec = "{hosts: [a.example], ports: [{number: 80, name: http}]}"
    assert entry(spec).ports is entry(spec).ports


def test_an_endpoint_keeps_what_balances_load() -> None:
    found = entry(
        "{hosts: [a.example], resolution: STATIC,"
        " ports: [{number: 80, name: http, targetPort: 81}],"
        " endpoints: [{address: 'fd00::1', ports: {http: 82}, weight: 5, locality: r/z,"
        " network: n, serviceAccount: s}, {address: 10.0.0.1}]}"
    )
    one, two = found.endpoints
    assert (str(one.address), one.ports, one.weight) == ("fd00::1", (("http", 82),), 5)
    assert (one.locality, one.network, one.service_account) == ("r/z", "n", "s")
    assert two.ports == (("http", 81),)


def test_the_label_against_allocation_is_honoured() -> None:
    label = "name: a, labels: {networking.istio.io/enable-autoallocate-ip: 'false'}"
    assert not entry("{hosts: [a.example]}", label).wants_address


PORT_Y = "{%s, ports: [{name: x, number: 1}], endpoints: [{address: 10.0.0.1, ports: {y: 2}}]}"
STATIC = "hosts: [a.example], resolution: STATIC"


@pytest.mark.parametrize(
    ("spec", "key", "legal"),
    [
        ("{}", "spec.hosts", "at least one host"),
        ("{hosts: []}", "spec.hosts", "at least one host"),
        ("{hosts: [a.example, A.example]}", "spec.hosts[1]", "each host once"),
        ("{hosts: ['*foo.example']}", "spec.hosts[0]", "a DNS name, or *. and a DNS name"),
        ("{hosts: [a_b.example]}", "spec.hosts[0]", "a DNS name, or *. and a DNS name"),
        ("{hosts: [a], addresses: [10.0.0]}", "spec.addresses[0]", "an IP address"),
        (
            "{hosts: [a], addresses: [0.0.0.0]}",
            "spec.addresses[0]",
            "an IP address that can be called",
        ),
        (
            "{hosts: [a], addresses: [10.0.0.0/33]}",
            "spec.addresses[0]",
            "an IP address, or a CIDR such as 10.1.0.0/16",
        ),
        (
            "{hosts: [a], addresses: [10.0.0.0/8], resolution: DNS}",
            "spec.addresses",
            "addresses without CIDRs: resolution is DNS",
        ),
        (
            "{hosts: [a], ports: [{number: 1}]}",
            "spec.ports[0].name",
            "a name, unique in this ServiceEntry",
        ),
        ("{hosts: [a], ports: [{name: x}]}", "spec.ports[0].number", "a port number, 1..65535"),
        (
            "{hosts: [a], ports: [{name: x, number: 1}, {name: y, number: 1}]}",
            "spec.ports[1].number",
            "a number that no other port here has",
        ),
        (
            "{hosts: [a], ports: [{name: x, number: 1, targetPort: 65536}]}",
            "spec.ports[0].targetPort",
            "a port number, 1..65535",
        ),
        (
            "{%s, endpoints: [{address: a.example}]}".replace("%s", STATIC),
            "spec.endpoints[0].address",
            "an IP address; a DNS name needs resolution DNS or DNS_ROUND_ROBIN",
        ),
        (
            "{%s, endpoints: [{address: 'unix:///run/x'}]}".replace("%s", STATIC),
            "spec.endpoints[0].address",
            "an IP address; Unix sockets are not supported",
        ),
        (
            "{%s, endpoints: [{network: n}]}".replace("%s", STATIC),
            "spec.endpoints[0].address",
            "an IP address or DNS name; an endpoint known by its network alone is not supported",
        ),
        (
            PORT_Y.replace("%s", STATIC),
            "spec.endpoints[0].ports.y",
            "the name of one of spec.ports: x",
        ),
        (
            "{%s, endpoints: [{address: 10.0.0.1, weight: -1}]}".replace("%s", STATIC),
            "spec.endpoints[0].weight",
            "a weight, 0..4294967295",
        ),
        (
            "{%s, endpoints: [{address: 10.0.0.1}], workloadSelector: {labels: {a: b}}}".replace(
                "%s", STATIC
            ),
            "spec.workloadSelector",
            "endpoints or workloadSelector, not both",
        ),
        (
            "{hosts: [a], endpoints: [{address: 10.0.0.1}]}",
            "spec.resolution",
            "STATIC, DNS or DNS_ROUND_ROBIN: there are endpoints",
        ),
        (
            "{hosts: [a], resolution: DNS_ROUND_ROBIN, endpoints: [{address: b}, {address: c}]}",
            "spec.endpoints",
            "one endpoint at most: resolution is DNS_ROUND_ROBIN",
        ),
        (
            "{hosts: ['*.a.example'], resolution: DNS}",
            "spec.hosts[0]",
            "no wildcard, or endpoints: resolution is DNS",
        ),
        ("{hosts: [a], exportTo: ['*', b]}", "spec.exportTo", "* alone, or others without it"),
        ("{hosts: [a], exportTo: [A_B]}", "spec.exportTo[0]", "., *, ~ or a namespace"),
        (
            "{hosts: [a], workloadSelector: {labels: {a: 1}}}",
            "spec.workloadSelector.labels.a",
            "a string, in quotes",
        ),
        ("{hosts: a}", "spec.hosts", "a list"),
        ("[]", "spec", "a mapping"),
    ],
)
def test_what_istio_would_refuse_in_a_service_entry(spec: str, key: str, legal: str) -> None:
    assert wrong("ServiceEntry", spec) == [(key, legal)]


@pytest.mark.parametrize("namespace", ["A", "a.b", "''", "-a"])
def test_a_namespace_is_one_label(namespace: str) -> None:
    found = wrong("ServiceEntry", "{hosts: [a]}", f"name: a, namespace: {namespace}")
    assert [key for key, _ in found] == ["metadata.namespace"]


def test_a_workload_entry_has_an_address_labels_and_ports() -> None:
    found = read(
        "WorkloadEntry",
        "{address: VM.example, labels: {app: x}, ports: {http: 8080}, weight: 2}",
        "name: w, namespace: n, labels: {zone: z}",
    )
    assert isinstance(found, Workloads)
    (workload,) = found.members
    assert (workload.address, workload.ports, workload.weight) == (
        "vm.example",
        (("http", 8080),),
        2,
    )
    assert workload.labels == (("app", "x"), ("zone", "z"))


@pytest.mark.parametrize(
    ("spec", "key"),
    [
        ("{}", "spec.address"),
        ("{address: 'unix:///x'}", "spec.address"),
        ("{address: 'a b'}", "spec.address"),
        ("{address: 10.0.0.1, ports: {http: 0}}", "spec.ports.http"),
        ("{address: 10.0.0.1, ports: {http: '80'}}", "spec.ports.http"),
    ],
)
def test_what_istio_would_refuse_in_a_workload_entry(spec: str, key: str) -> None:
    assert [found for found, _ in wrong("WorkloadEntry", spec)] == [key]


def test_a_workload_group_is_a_template_without_address() -> None:
    found = read("WorkloadGroup", "{metadata: {labels: {a: b}}, template: {ports: {http: 80}}}")
    assert isinstance(found, Group)
    assert (found.group.labels, found.group.ports) == ((("a", "b"),), (("http", 80),))
    spec = "{template: {address: 10.0.0.1}}"
    assert wrong("WorkloadGroup", spec) == [
        ("spec.template.address", "no address: each VM brings its own")
    ]


def test_a_workload_group_says_how_its_members_are_probed() -> None:
    found = read("WorkloadGroup", "{probe: {periodSeconds: 5, httpGet: {path: /h, port: 80}}}")
    assert isinstance(found, Group)
    probe = found.group.probe
    assert probe is not None
    assert probe.http is not None
    assert (probe.http.path, probe.http.port, probe.period_s) == ("/h", 80, 5)
    assert hash(found.group)


@pytest.mark.parametrize(
    ("probe", "key"),
    [
        ("{httpGet: {path: /h}}", "spec.probe.http.port"),
        ("{httpGet: {port: 80}, tcpSocket: {port: 80}}", "spec.probe"),
        ("{periodSeconds: 5}", "spec.probe"),
        ("{tcpSocket: {port: 99999}}", "spec.probe.tcp.port"),
        ("{httpGet: 5}", "spec.probe.http"),
        ("{exec: {command: ls}}", "spec.probe.exec.command"),
        ("5", "spec.probe"),
    ],
)
def test_what_is_wrong_with_a_probe_is_told_by_its_key(probe: str, key: str) -> None:
    assert [found for found, _ in wrong("WorkloadGroup", f"{{probe: {probe}}}")] == [key]


def test_an_endpoint_that_is_labelled_for_it_has_an_identity() -> None:
    labels = "labels: {security.istio.io/tlsMode: istio}"
    found = entry(
        "{hosts: [a.example], resolution: STATIC, ports: [{number: 80, name: http}], endpoints: ["
        f"{{address: 192.0.2.1, serviceAccount: web, {labels}}}, {{address: 192.0.2.2}}],"
        "subjectAltNames: [spiffe://other.example/web]}"
    )
    namespace = found.namespace
    assert [place.identity for place in found.endpoints] == [f"ns/{namespace}/sa/web", ""]
    assert found.subject_alt_names == ("spiffe://other.example/web",)
