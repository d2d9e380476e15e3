"""Resources as bytes."""

from __future__ import annotations

from envoy.config.cluster.v3 import cluster_pb2
from hypothesis import given
from hypothesis import strategies as st

from interceptor.sidecar import resource
from interceptor.sidecar.resource import Change, Kind, Resource


def cluster(name: str, **more: object) -> Resource:
    return resource.encode(Kind.CLUSTER, name, cluster_pb2.Cluster(name=name, **more))


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), max_size=40))
def test_what_is_packed_comes_out_again(name: str) -> None:
    found = cluster_pb2.Cluster()
    assert resource.decode(cluster(name)).Unpack(found)
    assert found.name == name


def test_the_version_is_the_content_in_any_process() -> None:
    assert cluster("a") == cluster("a")
    assert len(cluster("a").version) == 2 * resource.VERSION_BYTES
    assert cluster("a").version != cluster("a", alt_stat_name="b").version


def test_maps_in_any_order_are_the_same_version() -> None:
    first = cluster_pb2.Cluster(name="a")
    second = cluster_pb2.Cluster(name="a")
    for message, keys in ((first, "xyz"), (second, "zyx")):
        for key in keys:
            message.typed_extension_protocol_options[key].type_url = key
    versions = {resource.encode(Kind.CLUSTER, "a", item).version for item in (first, second)}
    assert len(versions) == 1


def test_a_difference_names_what_changed_and_what_went() -> None:
    old = {Kind.CLUSTER: {"a": cluster("a"), "b": cluster("b"), "c": cluster("c")}}
    changed = cluster("b", alt_stat_name="x")
    new = {Kind.CLUSTER: {"a": cluster("a"), "b": changed}}
    assert resource.diff(old, new) == Change((changed,), ((Kind.CLUSTER, "c"),))
    assert not resource.diff(old, old)
