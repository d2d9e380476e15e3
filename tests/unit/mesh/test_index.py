"""Hosts under keys that they share."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from interceptor.mesh.index import Index

STEPS = st.lists(st.tuples(st.booleans(), st.integers(0, 2), st.sampled_from("abc")), max_size=30)


@given(STEPS)
def test_an_index_is_a_set_of_hosts_under_each_key(steps: list[tuple[bool, int, str]]) -> None:
    index: Index[int] = Index()
    plain: defaultdict[int, set[str]] = defaultdict(set)
    for is_added, key, host in steps:
        (index.add if is_added else index.discard)(key, host)
        (plain[key].add if is_added else plain[key].discard)(host)
    there = {key: hosts for key, hosts in plain.items() if hosts}
    assert set(index) == there.keys()
    assert len(index) == len(there)
    for key in range(3):
        assert index.members(key) == tuple(sorted(plain[key]))
        assert (key in index) == (key in there)


def test_equal_contents_are_equal_whatever_the_way_there() -> None:
    one: Index[str] = Index()
    other: Index[str] = Index()
    for host in "ab":
        one.add("k", host)
    for host in "cba":
        other.add("k", host)
    assert one != other
    other.discard("k", "c")
    assert one == other
    one.release()
    assert len(one) == 0
