from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interceptor.config import VipRanges
from interceptor.mesh import parse, vip
from interceptor.mesh.build import Inventory
from interceptor.mesh.model import Host, Kind
from interceptor.mesh.table import Difference, MeshTable

DATA = Path(__file__).parents[2] / "data/mesh"


def inventory(viewer: str = "vm", allocation: vip.Allocation | None = None) -> Inventory:
    return Inventory(viewer, "cluster.local", allocation or vip.Allocation(VipRanges()))


def put(found: Inventory, file: str, text: str) -> None:
    found.replace(file, parse.parse(text.encode(), file, found.pieces(file)).pieces)


def table(*texts: str, viewer: str = "vm") -> MeshTable:
    found = inventory(viewer)
    for number, text in enumerate(texts):
        put(found, f"{number}.yaml", text)
    return found.build()[0]


@pytest.fixture
def real() -> MeshTable:
    found = inventory("shop")
    for path in DATA.iterdir():
        put(found, str(path), path.read_text())
    return found.build()[0]


def addresses(host: Host) -> list[str]:
    return [str(address) for address in host.addresses]


def places(host: Host) -> list[tuple[str, bool]]:
    return [(str(endpoint.address), endpoint.ready) for endpoint in host.endpoints]


# --- real documents


def test_a_service_takes_its_endpoints_from_selected_pods(real: MeshTable) -> None:
    host = real.hosts["productpage.bookinfo.svc.cluster.local"]
    assert addresses(host) == ["10.96.14.7", "fd00:10:96::e07"]
    assert places(host) == [("10.244.1.12", True), ("fd00:10:244:1::c", True)]
    assert host.endpoints[0].port(host.ports[0]) == 9081
    assert host.origin == "Service bookinfo/productpage (bookinfo.yaml)"


def test_a_service_takes_its_endpoints_from_slices(real: MeshTable) -> None:
    host = real.hosts["reviews.bookinfo.svc.cluster.local"]
    assert places(host) == [("10.244.1.20", True), ("10.244.2.20", False)]
    assert host.endpoints[0].port(host.ports[0]) == 9083


def test_a_service_takes_its_endpoints_from_endpoints(real: MeshTable) -> None:
    host = real.hosts["ratings.bookinfo.svc.cluster.local"]
    assert places(host) == [("10.244.3.30", True), ("10.244.3.31", False)]
    assert host.virtual
    assert [address.version for address in host.addresses] == [4, 6]


def test_a_selector_picks_workload_entries_and_pods_of_its_namespace(real: MeshTable) -> None:
    host = real.hosts["mysql.vm.svc.cluster.local"]
    assert places(host) == [("192.0.2.11", True), ("192.0.2.12", False), ("10.244.9.9", True)]
    assert [endpoint.port(host.ports[0]) for endpoint in host.endpoints] == [3307, 3306, 3306]
    assert (host.endpoints[0].weight, host.endpoints[0].locality) == (3, "eu-north/a/rack1")
    assert not host.mesh_external


def test_a_headless_service_is_its_ready_endpoints_and_names_its_pods(real: MeshTable) -> None:
    host = real.hosts["nginx.web.svc.cluster.local"]
    assert host.kind is Kind.HEADLESS
    assert addresses(host) == ["10.244.4.1", "10.244.4.2"]
    pod = real.hosts["web-1.nginx.web.svc.cluster.local"]
    assert (pod.kind, addresses(pod)) == (Kind.POD, ["10.244.4.2"])
    assert "web-2.nginx.web.svc.cluster.local" not in real.hosts


def test_a_headless_service_may_name_pods_that_are_not_ready(real: MeshTable) -> None:
    assert addresses(real.hosts["peers.db.svc.cluster.local"]) == ["10.244.7.1"]
    pod = real.hosts["db-0.peers.db.svc.cluster.local"]
    assert addresses(pod) == ["10.244.7.1"]
    assert pod.endpoints[0].ready


def test_an_external_name_has_neither_address_nor_vip(real: MeshTable) -> None:
    host = real.hosts["search.web.svc.cluster.local"]
    assert (host.kind, host.external_name) == (Kind.EXTERNAL_NAME, "search.example.com")
    assert host.addresses == ()


def test_a_dns_entry_without_endpoints_is_served_by_its_own_name(real: MeshTable) -> None:
    host = real.hosts["www.example.com"]
    assert [endpoint.address for endpoint in host.endpoints] == ["www.example.com"]
    assert [host.endpoints[0].port(port) for port in host.ports] == [443, 8080]
    assert host.virtual
    assert host.addresses != real.hosts["api.example.com"].addresses


def test_wildcards_and_resolution_none_get_no_vip(real: MeshTable) -> None:
    host = real.hosts["*.pages.example.org"]
    assert host.is_wildcard
    assert host.addresses == ()
    assert not host.is_answered


def test_cidrs_are_captured_and_not_answered(real: MeshTable) -> None:
    host = real.hosts["legacy.example.net"]
    assert addresses(host) == ["203.0.113.9"]
    assert {str(network) for network in real.networks()} == {"198.51.100.0/24", "2001:db8:5::/48"}


def test_groups_and_workloads_stay_in_the_table(real: MeshTable) -> None:
    assert [group.name for group in real.groups] == ["mysql"]
    assert {workload.name for workload in real.workloads} >= {"mysql-1", "mysql-pod", "db-0"}


# --- single rules

ENTRY = """apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: NAME, namespace: NAMESPACE}
spec: SPEC
---
"""


def entry(spec: str, name: str = "a", namespace: str = "default") -> str:
    return ENTRY.replace("NAMESPACE", namespace).replace("NAME", name).replace("SPEC", spec)


def test_what_is_not_exported_is_not_seen() -> None:
    text = entry("{hosts: [a.example], exportTo: ['.']}", namespace="a")
    text += entry("{hosts: [b.example], exportTo: [vm, c]}", "b")
    text += entry("{hosts: [c.example], exportTo: ['~']}", "c")
    text += entry("{hosts: [d.example], exportTo: ['*']}", "d")
    assert set(table(text).hosts) == {"b.example", "d.example"}
    assert set(table(text, viewer="a").hosts) == {"a.example", "d.example"}


@pytest.mark.parametrize(
    "spec",
    [
        "{hosts: [a.example], resolution: NONE}",
        "{hosts: ['*.example'], resolution: STATIC}",
        "{hosts: [a.example], resolution: STATIC, addresses: [10.0.0.0/8]}",
        "{hosts: [a.example], resolution: STATIC, addresses: [10.0.0.1]}",
    ],
)
def test_no_vip_where_there_is_no_use_for_one(spec: str) -> None:
    assert not any(host.virtual for host in table(entry(spec)).hosts.values())


def test_no_vip_is_an_address_that_another_host_names() -> None:
    free = entry("{hosts: [a.example], resolution: STATIC}")
    wanted = table(free).hosts["a.example"].addresses
    spec = f"{{hosts: [b.example], resolution: STATIC, addresses: [{wanted[0]}]}}"
    found = inventory()
    put(found, "a.yaml", free)
    found.build()
    put(found, "b.yaml", entry(spec, "b"))
    after, difference = found.build()
    assert {host.name for host in difference.upserted} == {"a.example", "b.example"}
    assert not set(after.hosts["a.example"].addresses) & set(wanted)


def test_a_vip_range_that_is_used_up_is_a_warning_and_the_rest_is_served() -> None:
    ranges = VipRanges.model_validate({"ipv4": "240.0.0.0/30", "ipv6": "fd00::/64"})
    found = inventory(allocation=vip.Allocation(ranges))
    text = "".join(entry(f"{{hosts: [{n}.example], resolution: STATIC}}", n) for n in "abc")
    put(found, "a.yaml", text)
    after, _ = found.build()
    assert [len(host.addresses) for _, host in sorted(after.hosts.items())] == [2, 2, 1]
    assert [problem.key for problem in after.warnings] == ["mesh.vip_ranges.ipv4"]


def test_hosts_of_the_state_file_that_are_gone_give_their_slots_back() -> None:
    before = vip.Allocation(VipRanges(), {"gone.example": 7})
    found = inventory(allocation=before)
    put(found, "a.yaml", entry("{hosts: [a.example], resolution: STATIC}"))
    found.build()
    assert set(before.slots) == {"a.example"}
    assert dict(before.retired) == {"gone.example": 7}


def test_a_pods_name_beats_a_service_entry_until_the_pod_is_gone() -> None:
    stateful = (DATA / "stateful.yaml").read_text()
    name = "web-0.nginx.web.svc.cluster.local"
    found = inventory()
    put(found, "a.yaml", entry(f"{{hosts: [{name}], addresses: [10.0.0.1]}}"))
    put(found, "b.yaml", stateful)
    assert found.build()[0].hosts[name].kind is Kind.POD
    found.remove("b.yaml")
    after, difference = found.build()
    assert after.hosts[name].kind is Kind.SERVICE_ENTRY
    assert name in {host.name for host in difference.upserted}


def test_removing_an_endpoint_touches_its_hosts_alone() -> None:
    found = inventory()
    for path in DATA.glob("*.yaml"):
        put(found, path.name, path.read_text())
    found.build()
    text = (DATA / "vm.yaml").read_text().replace("192.0.2.11", "192.0.2.99")
    put(found, "vm.yaml", text)
    after, difference = found.build()
    assert [host.name for host in difference.upserted] == ["mysql.vm.svc.cluster.local"]
    assert ("192.0.2.99", True) in places(after.hosts["mysql.vm.svc.cluster.local"])
    assert difference.removed == ()
    assert places(difference.before[0])[0] == ("192.0.2.11", True)


def test_nothing_new_is_no_difference() -> None:
    found = inventory()
    put(found, "a.yaml", entry("{hosts: [a.example]}"))
    first, _ = found.build()
    put(found, "a.yaml", "# a comment\n" + entry("{hosts: [a.example]}"))
    second, difference = found.build()
    assert not difference
    assert first.hosts["a.example"] is second.hosts["a.example"]


# --- the property that all of it rests on

PIECES = st.sampled_from(
    [
        entry(
            "{hosts: [a.example, b.example], resolution: STATIC, endpoints: [{address: 10.1.0.1}]}"
        ),
        entry("{hosts: [a.example], resolution: STATIC, ports: [{number: 1, name: x}]}", "b", "vm"),
        entry("{hosts: [a.example], resolution: DNS, ports: [{number: 2, name: x}]}", "c"),
        entry("{hosts: [b.example], addresses: [240.240.0.9, 10.9.0.0/16]}", "d"),
        entry("{hosts: [b.example], resolution: STATIC, exportTo: ['.']}", "e"),
        entry("{hosts: [s.n.svc.cluster.local], resolution: STATIC}", "f"),
        entry("{hosts: [h.s.n.svc.cluster.local], resolution: STATIC}", "g"),
        entry(
            "{hosts: [w.example], resolution: STATIC, workloadSelector: {labels: {app: x}},"
            " ports: [{number: 80, name: http}]}",
            "h",
            "n",
        ),
        entry("{hosts: [w.example], resolution: STATIC, workloadSelector: {}}", "i", "n"),
        *(
            "apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: n}\n"
            f"spec: {spec}\n---\n"
            for spec in (
                "{ports: [{port: 80, name: http, targetPort: web}], selector: {app: x}}",
                "{clusterIP: None, selector: {app: x}}",
                "{clusterIP: 240.240.0.9, ports: [{port: 80}]}",
            )
        ),
        *(
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n"
            f"  {{name: {name}, namespace: n, labels: {{kubernetes.io/service-name: s}}}}\n"
            f"addressType: IPv4\nendpoints: [{{addresses: [{address}], hostname: {host}}}]\n---\n"
            for name, address, host in (("s1", "10.2.0.1", "h"), ("s1", "10.2.0.2", "h2"))
        ),
        "apiVersion: v1\nkind: Endpoints\nmetadata: {name: s, namespace: n}\n"
        "subsets: [{addresses: [{ip: 10.3.0.1, hostname: h}]}]\n---\n",
        *(
            "apiVersion: v1\nkind: Pod\n"
            f"metadata: {{name: {name}, namespace: n, labels: {labels}}}\n"
            "spec: {hostname: h, subdomain: s,"
            " containers: [{ports: [{name: web, containerPort: 81}]}]}\n"
            f"status: {{podIP: {address}}}\n---\n"
            for name, labels, address in (
                ("p", "{app: x}", "10.4.0.1"),
                ("p", "{app: x, b: c}", "10.4.0.2"),
                ("p", "{app: y}", "10.4.0.3"),
                ("q", "{app: x}", "''"),
            )
        ),
        *(
            "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\n"
            f"metadata: {{name: w, namespace: n}}\nspec: {spec}\n---\n"
            for spec in (
                "{address: 10.5.0.1, labels: {app: x}, ports: {http: 82}}",
                "{address: vm.example, labels: {app: x}}",
            )
        ),
        "apiVersion: networking.istio.io/v1\nkind: WorkloadGroup\nmetadata: {name: g}\n---\n",
    ]
)
FILES = st.lists(PIECES, max_size=6).map("".join)
EDITS = st.lists(st.tuples(st.sampled_from(["a.yaml", "b.yaml", "c.yaml"]), FILES), max_size=8)


def applied(hosts: dict[str, Host], difference: Difference) -> dict[str, Host]:
    for name in difference.removed:
        del hosts[name]
    hosts.update({host.name: host for host in difference.upserted})
    return hosts


@settings(max_examples=150, deadline=None)
@given(EDITS, st.booleans())
def test_building_by_changes_is_building_afresh(edits: list[tuple[str, str]], batch: bool) -> None:
    """For any sequence of edits; and each difference leads from one table to the next."""
    found = inventory()
    files: dict[str, str] = {}
    hosts: dict[str, Host] = {}
    for file, text in edits:
        files[file] = text
        put(found, file, text)
        if not batch:
            after, difference = found.build()
            before = dict(hosts)
            hosts = applied(hosts, difference)
            assert hosts == dict(after.hosts)
            changed = [host.name for host in difference.upserted if host.name in before]
            assert difference.before == tuple(before[n] for n in [*changed, *difference.removed])
    after, _ = found.build()

    fresh = inventory(allocation=vip.decode(vip.encode(found.allocation), VipRanges()))
    for file in sorted(files, reverse=True):
        put(fresh, file, files[file])
    whole, _ = fresh.build()
    assert dict(whole.hosts) == dict(after.hosts)
    assert whole.workloads == after.workloads
    assert whole.groups == after.groups
    assert whole.warnings == after.warnings
    assert dict(fresh.allocation.slots) == dict(found.allocation.slots)
    virtual = [
        address for host in whole.hosts.values() if host.virtual for address in host.addresses
    ]
    assert len(virtual) == len(set(virtual))
    explicit = {a for host in whole.hosts.values() if not host.virtual for a in host.addresses}
    assert explicit.isdisjoint(virtual)
