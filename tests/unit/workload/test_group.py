"""WorkloadGroups, written and read again; the mesh's own reader is the judge of what is written."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from interceptor.errors import ConfigError
from interceptor.mesh import parse
from interceptor.workload import group
from interceptor.workload.group import Group

LABEL = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)
TEXTS = st.dictionaries(LABEL, LABEL, max_size=3)
GROUPS = st.builds(
    Group,
    name=LABEL,
    namespace=LABEL,
    labels=TEXTS,
    annotations=TEXTS,
    ports=st.dictionaries(LABEL, st.integers(1, 65535), max_size=3),
    service_account=LABEL,
    network=st.one_of(st.just(""), LABEL),
    locality=st.sampled_from(("", "eu/a/1")),
    weight=st.integers(0, 200),
    probe=st.sampled_from(({}, {"tcpSocket": {"port": 8080}, "periodSeconds": 5})),
)


@given(GROUPS)
def test_what_is_written_is_read_again(one: Group) -> None:
    assert group.parse_group(group.render(one), "(test)") == one


@given(GROUPS)
def test_the_mesh_takes_what_is_written(one: Group) -> None:
    read = parse.parse(group.render(one).encode(), "(test)")
    (resources,) = read.pieces.values()
    assert [type(resource).__name__ for resource in resources] == ["Group"]


def test_what_says_nothing_is_left_out() -> None:
    tree = yaml.safe_load(group.render(Group("ratings", "vm", ports={"http": 8080})))
    assert tree == {
        "apiVersion": "networking.istio.io/v1",
        "kind": "WorkloadGroup",
        "metadata": {"name": "ratings", "namespace": "vm"},
        "spec": {"template": {"ports": {"http": 8080}, "serviceAccount": "default"}},
    }


def test_a_group_that_no_mesh_would_take_is_refused_when_it_is_written() -> None:
    with pytest.raises(ConfigError) as refused:
        group.render(Group("Not_A_Name", "vm", ports={"http": 80000}))
    assert {problem.key for problem in refused.value.problems} >= {"metadata.name"}


def test_the_canonical_service_is_found_as_istio_finds_it() -> None:
    assert Group("g", "n").canonical_name == "g"
    assert Group("g", "n", labels={"app": "shop"}).canonical_name == "shop"
    labels = {"app": "shop", "app.kubernetes.io/name": "store", "version": "v2"}
    assert Group("g", "n", labels=labels).canonical_name == "store"
    assert Group("g", "n", labels=labels).canonical_revision == "v2"
    assert Group("g", "n").canonical_revision == "latest"


def test_labels_of_the_template_win_over_the_metadata_s() -> None:
    text = """
apiVersion: networking.istio.io/v1beta1
kind: WorkloadGroup
metadata: {name: a}
spec:
  metadata: {labels: {app: one, tier: back}}
  template: {labels: {app: two}, serviceAccount: shop}
"""
    found = group.parse_group(text, "a.yaml", namespace="vm")
    assert found.labels == {"app": "two", "tier": "back"}
    assert (found.namespace, found.service_account) == ("vm", "shop")


TWO = """
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: a, namespace: vm}
---
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: b, namespace: vm}
"""


def test_of_several_groups_one_is_named() -> None:
    assert group.parse_group(TWO, "two.yaml", name="b").name == "b"
    for name, said in (("", "--name"), ("c", "a, b")):
        with pytest.raises(ConfigError, match=said):
            group.parse_group(TWO, "two.yaml", name=name)


def test_a_file_without_a_group_is_refused_by_what_it_has() -> None:
    with pytest.raises(ConfigError, match="Sidecar default/x"):
        group.parse_group(
            "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: x}\n", "x.yaml"
        )
