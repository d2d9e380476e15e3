"""The mesh table as Envoy's resources: golden text, and whole equals incremental."""

from __future__ import annotations

import itertools
import json
import os
import re
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

# Registers the messages by which what is packed in an Any can be printed.
from envoy.config.cluster.v3 import cluster_pb2  # noqa: F401
from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings
from hypothesis import strategies as st

from interceptor.mesh.model import AppProtocol, Endpoint, Host, Kind, Port, Resolution
from interceptor.mesh.table import Difference, MeshTable, diff
from interceptor.sidecar import resources
from interceptor.sidecar.resource import Kind as ResourceKind
from interceptor.sidecar.resource import decode
from interceptor.sidecar.resource import diff as resource_diff
from interceptor.sidecar.setting import Settings

GOLDEN = Path(__file__).with_name("golden")
OWN = ip_address("192.0.2.9")
SETTINGS = Settings(
    namespace="bookinfo", own_addresses=(OWN,), access_log="/run/interceptor/sidecar-access.log"
)
HTTP = Port("http", 9080, AppProtocol.HTTP)
TCP = Port("mysql", 3306)


def host(name: str, *addresses: str, **more: object) -> Host:
    found = Host(name, "bookinfo", Kind.SERVICE, tuple(map(ip_address, addresses)), (HTTP,))
    return replace(found, **more)


REVIEWS = host(
    "reviews.bookinfo.svc.cluster.local",
    "10.96.0.10",
    "2001:2::a",
    endpoints=(
        Endpoint(ip_address("192.0.2.1"), (("http", 8080),), weight=80, locality="eu/eu-1/a"),
        Endpoint(ip_address("192.0.2.2"), (("http", 8080),), weight=20, locality="eu/eu-1/a"),
        Endpoint(ip_address("2001:db8::3"), (("http", 8080),), locality="us/us-1"),
        Endpoint(ip_address("192.0.2.4"), (("http", 8080),), ready=False),
    ),
)
RATINGS = host("ratings.bookinfo.svc.cluster.local", "10.96.0.10")
MYSQL = host(
    "mysql.vm.svc.cluster.local",
    "10.96.0.11",
    ports=(TCP,),
    endpoints=(Endpoint(OWN, (("mysql", 13306),)),),
)
HEADLESS = host(
    "db.bookinfo.svc.cluster.local",
    "192.0.2.5",
    "192.0.2.6",
    kind=Kind.HEADLESS,
    ports=(TCP,),
    endpoints=(
        Endpoint(ip_address("192.0.2.5"), (("mysql", 3306),)),
        Endpoint(ip_address("192.0.2.6"), (("mysql", 3307),)),
    ),
)
POD = host("db-0.db.bookinfo.svc.cluster.local", "192.0.2.5", kind=Kind.POD, ports=(TCP,))
API = host(
    "api.example.com",
    "240.240.0.1",
    kind=Kind.SERVICE_ENTRY,
    ports=(Port("https", 443, AppProtocol.TLS), Port("grpc", 50051, AppProtocol.GRPC)),
    resolution=Resolution.DNS,
    endpoints=(Endpoint("eu.example.com", (("https", 8443),)), Endpoint(ip_address("192.0.2.7"))),
)
ROUND_ROBIN = host(
    "cdn.example.com",
    "240.240.0.2",
    kind=Kind.SERVICE_ENTRY,
    resolution=Resolution.DNS_ROUND_ROBIN,
)
LEGACY = host(
    "legacy.example.com",
    "192.0.2.100",
    kind=Kind.SERVICE_ENTRY,
    ports=(TCP,),
    resolution=Resolution.NONE,
)
NAMED_ONLY = host("named.example.com", "10.96.0.99", kind=Kind.NAME_TABLE, ports=())
OTHER_NAME = host("old.bookinfo.svc.cluster.local", kind=Kind.EXTERNAL_NAME, external_name="x.y")
DNS_ONLY = host(
    "dns.kube-system.svc.cluster.local", "10.96.0.53", ports=(Port("dns", 53, AppProtocol.UDP),)
)
MESH = (
    REVIEWS, RATINGS, MYSQL, HEADLESS, POD, API, ROUND_ROBIN, LEGACY,
    NAMED_ONLY, OTHER_NAME, DNS_ONLY,
)  # fmt: skip


def table(*hosts: Host) -> MeshTable:
    return MeshTable({host.name: host for host in hosts})


def readable(snapshot: resources.Snapshot) -> dict[str, dict[str, object]]:
    return {
        kind.name.lower(): {
            name: MessageToDict(decode(resource), preserving_proto_field_name=True)
            for name, resource in sorted(snapshot.resources[kind].items())
        }
        for kind in ResourceKind
    }


def versions(snapshot: resources.Snapshot) -> dict[tuple[ResourceKind, str], str]:
    return {
        resource.key: resource.version
        for kind in ResourceKind
        for resource in snapshot.resources[kind].values()
    }


def test_the_sample_mesh_is_what_the_golden_files_show() -> None:
    """INTERCEPTOR_GOLDEN=write makes them anew, for the difference to be read in review."""
    for kind, found in readable(resources.build(table(*MESH), SETTINGS)).items():
        path = GOLDEN / f"{kind}.json"
        text = json.dumps(found, indent=1, sort_keys=True) + "\n"
        if os.environ.get("INTERCEPTOR_GOLDEN") == "write":
            GOLDEN.mkdir(exist_ok=True)
            path.write_text(text)
        assert text == path.read_text(), f"{kind} differs from its golden file"


def test_an_empty_mesh_has_the_listeners_of_capture() -> None:
    snapshot = resources.build(table(), SETTINGS)
    assert set(snapshot.resources[ResourceKind.LISTENER]) == {"virtualOutbound", "virtualInbound"}
    assert set(snapshot.resources[ResourceKind.CLUSTER]) == {
        "PassthroughCluster",
        "BlackHoleCluster",
        "InboundPassthroughCluster",
    }


def test_a_host_without_ports_only_passes_through() -> None:
    with_it = resources.build(table(NAMED_ONLY, OTHER_NAME, DNS_ONLY, POD), SETTINGS)
    assert versions(with_it) == versions(resources.build(table(), SETTINGS))


def test_a_changed_endpoint_is_one_resource() -> None:
    snapshot = resources.build(table(*MESH), SETTINGS)
    one_less = replace(REVIEWS, endpoints=REVIEWS.endpoints[1:])
    after, change = resources.update(snapshot, Difference((one_less,)))
    assert [resource.key for resource in change.upserted] == [
        (ResourceKind.ENDPOINT, "outbound|9080||reviews.bookinfo.svc.cluster.local")
    ]
    assert change.removed == ()
    assert after.resources[ResourceKind.LISTENER] == snapshot.resources[ResourceKind.LISTENER]


def test_an_endpoint_that_is_not_ready_changes_nothing_by_its_weight() -> None:
    snapshot = resources.build(table(REVIEWS), SETTINGS)
    *ready, sick = REVIEWS.endpoints
    same = replace(REVIEWS, endpoints=(*ready, replace(sick, weight=7)))
    assert not resources.update(snapshot, Difference((same,)))[1]


def test_two_tcp_hosts_at_one_address_are_a_conflict_that_the_first_wins() -> None:
    first = host("a.example.com", "10.96.0.30", ports=(TCP,))
    second = host("b.example.com", "10.96.0.30", ports=(TCP,))
    snapshot = resources.build(table(second, first), SETTINGS)
    ((vip, (conflict,)),) = snapshot.conflicts.items()
    assert (conflict.winner, conflict.loser) == ("a.example.com", "b.example.com")
    assert "b.example.com cannot be reached at 10.96.0.30 port 3306" in str(conflict)
    after, change = resources.update(snapshot, Difference(removed=("a.example.com",)))
    assert not after.conflicts
    assert (ResourceKind.LISTENER, vip.name) in [resource.key for resource in change.upserted]


def test_two_headless_services_of_one_pod_are_no_conflict() -> None:
    other = replace(HEADLESS, name="other.bookinfo.svc.cluster.local")
    assert not resources.build(table(HEADLESS, other), SETTINGS).conflicts


def test_an_address_that_passes_to_another_host_keeps_its_listener() -> None:
    old = host("old.example.com", "10.96.0.40")
    new = host("new.example.com", "10.96.0.40")
    snapshot = resources.build(table(old), SETTINGS)
    _, change = resources.update(snapshot, diff(table(old), table(new)))
    assert (ResourceKind.LISTENER, "10.96.0.40_9080") not in change.removed


# Few names and addresses, so that hosts meet at the same ones.
HOSTS = st.builds(
    Host,
    name=st.sampled_from(
        ["a.bookinfo.svc.cluster.local", "b.x.svc.cluster.local", "c.com", "d.com"]
    ),
    namespace=st.just("bookinfo"),
    kind=st.sampled_from(Kind),
    addresses=st.lists(
        st.sampled_from([ip_address(text) for text in ("10.0.0.1", "10.0.0.2", "2001:2::1")]),
        max_size=2,
        unique=True,
    ).map(tuple),
    ports=st.lists(
        st.builds(
            Port,
            name=st.just("p"),
            number=st.sampled_from([80, 81]),
            protocol=st.sampled_from(AppProtocol),
        ),
        max_size=2,
        unique_by=lambda port: port.number,
    ).map(tuple),
    endpoints=st.lists(
        st.builds(
            Endpoint,
            address=st.sampled_from([OWN, ip_address("10.0.0.2"), "name.example.com"]),
            ports=st.sampled_from([(), (("p", 8080),), (("p", 15006),)]),
            weight=st.integers(0, 2),
            ready=st.booleans(),
        ),
        max_size=2,
    ).map(tuple),
    resolution=st.sampled_from(Resolution),
)
TABLES = st.lists(HOSTS, max_size=4, unique_by=lambda host: host.name).map(
    lambda hosts: table(*hosts)
)


@settings(max_examples=150, deadline=None)
@given(st.lists(TABLES, min_size=1, max_size=4))
def test_incremental_is_the_same_as_whole(tables: list[MeshTable]) -> None:
    snapshot = resources.build(tables[0], SETTINGS)
    for before, after in itertools.pairwise(tables):
        was = snapshot
        snapshot, change = resources.update(was, diff(before, after))
        expected = resource_diff(was.resources, snapshot.resources)
        assert {item.key for item in change.upserted} == {item.key for item in expected.upserted}
        assert set(change.removed) == set(expected.removed)
    whole = resources.build(tables[-1], SETTINGS)
    assert versions(snapshot) == versions(whole)
    assert snapshot.claims.keys() == whole.claims.keys()
    assert snapshot.conflicts == whole.conflicts
    assert snapshot.local == whole.local


@settings(max_examples=50, deadline=None)
@given(TABLES)
def test_every_listener_has_its_clusters_and_every_eds_cluster_its_endpoints(
    mesh: MeshTable,
) -> None:
    found = readable(resources.build(mesh, SETTINGS))
    for name, cluster in found["cluster"].items():
        assert (cluster["type"] == "EDS") == (name in found["endpoint"])  # type: ignore[index]
    named = set(re.findall(r'"cluster": "([^"]+)"', json.dumps(found["listener"])))
    assert named <= found["cluster"].keys()
