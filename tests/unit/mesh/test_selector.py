from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.mesh.model import Labels, Workload
from interceptor.mesh.resource import Workloads
from interceptor.mesh.selector import Index

LABELS = st.sets(st.tuples(st.sampled_from("ab"), st.sampled_from("xy")), max_size=3)


def workload(name: str, labels: Labels, kind: str = "Pod", file: str = "f") -> Workloads:
    member = Workload(name, "n", IPv4Address("10.0.0.1"), labels)
    return Workloads(name, "n", f"{kind} n/{name} ({file})", (member,))


def names(index: Index, selector: Labels, namespace: str = "n") -> list[str]:
    return [found.name for found in index.pick(namespace, selector)]


@given(st.lists(LABELS, max_size=8), LABELS)
def test_a_selector_picks_what_bears_all_of_its_labels(
    workloads: list[set[tuple[str, str]]], wanted: set[tuple[str, str]]
) -> None:
    index = Index()
    for number, labels in enumerate(workloads):
        index.add(workload(f"w{number}", tuple(sorted(labels))))
    expected = [f"w{number}" for number, labels in enumerate(workloads) if wanted <= labels]
    assert names(index, tuple(sorted(wanted))) == expected
    assert names(index, tuple(sorted(wanted)), "other") == []


def test_followers_are_concerned_by_what_they_pick_and_by_nothing_else() -> None:
    index = Index()
    index.follow("n", (("a", "x"), ("b", "y")), "one.example")
    index.follow("n", (), "all.example")
    index.follow("m", (("a", "x"),), "other.example")
    both = workload("w", (("a", "x"), ("b", "y")))
    assert index.add(both) == {"one.example", "all.example"}
    assert index.add(workload("v", (("a", "x"),))) == {"all.example"}
    assert index.drop(both) == {"one.example", "all.example"}


def test_a_changed_label_concerns_the_old_and_the_new_follower() -> None:
    index = Index()
    index.follow("n", (("a", "x"),), "old.example")
    index.follow("n", (("a", "y"),), "new.example")
    before = workload("w", (("a", "x"),), file="a")
    index.add(before)
    assert index.add(workload("w", (("a", "y"),), file="b")) == {"old.example", "new.example"}
    assert names(index, (("a", "x"),)) == []


def test_the_last_files_document_counts_in_whatever_order_they_came() -> None:
    index = Index()
    one = workload("w", (("a", "x"),), file="a.yaml")
    two = workload("w", (("a", "y"),), file="b.yaml")
    index.add(two)
    index.add(one)
    assert names(index, (("a", "y"),)) == ["w"]
    index.drop(two)
    assert names(index, (("a", "x"),)) == ["w"]
    assert [found.name for found in index.everything()] == ["w"]


def test_a_pod_and_a_workload_entry_may_share_a_name() -> None:
    index = Index()
    index.add(workload("w", (("a", "x"),)))
    index.add(workload("w", (("a", "x"),), kind="WorkloadEntry"))
    assert names(index, (("a", "x"),)) == ["w", "w"]


def test_who_has_stopped_following_is_left_alone() -> None:
    index = Index()
    index.follow("n", (("a", "x"),), "h")
    index.follow("n", (("a", "x"),), "h")
    index.unfollow("n", (("a", "x"),), "h")
    found = workload("w", (("a", "x"),))
    assert index.add(found) == {"h"}
    index.unfollow("n", (("a", "x"),), "h")
    assert index.drop(found) == set()
    with pytest.raises(KeyError):
        index.unfollow("n", (("a", "x"),), "h")
