"""Texts of ipset."""

from __future__ import annotations

from ipaddress import IPv4Network, ip_network

from hypothesis import given
from hypothesis import strategies as st

from interceptor.capture import ipset

NETS = st.frozensets(st.integers(0, 40).map(lambda i: IPv4Network(0x0A000000 + i)), max_size=8)
SETS = st.dictionaries(st.sampled_from(["interceptor_a4", "interceptor_b4"]), NETS)


def run(text: str, sets: ipset.Sets) -> ipset.Sets:
    """What ipset makes of a text."""
    state = {name: set(elements) for name, elements in sets.items()}
    for line in text.splitlines():
        verb, name, *rest = line.split()
        if verb == "create":
            state.setdefault(name, set())
        elif verb == "add":
            state[name].add(ip_network(rest[0]))
        else:
            state[name].remove(ip_network(rest[0]))
    return {name: frozenset(elements) for name, elements in state.items()}


@given(SETS, SETS)
def test_a_script_makes_the_old_into_the_new(old: ipset.Sets, new: ipset.Sets) -> None:
    assert run(ipset.script(old, new), old) == {**old, **new}


@given(SETS)
def test_a_listing_is_read_back(sets: ipset.Sets) -> None:
    text = ipset.listing(sets).replace("set ", "create ")
    assert ipset.parse(text) == sets


def test_nothing_is_done_where_nothing_changes() -> None:
    same = {"interceptor_outbound4": frozenset({ip_network("10.0.0.0/8")})}
    assert ipset.step(same, same) == ()


def test_addition_comes_before_removal() -> None:
    name = "interceptor_outbound6"
    old = {name: frozenset({ip_network("fd00::1")})}
    lines = ipset.script(old, {name: frozenset({ip_network("fd00::/64")})}).splitlines()
    assert [line.split()[0] for line in lines] == ["add", "del"]
    created = ipset.script({}, {name: frozenset()})
    assert created == f"create {name} hash:net family inet6 maxelem 1048576 -exist\n"


def test_sets_of_others_are_not_seen() -> None:
    assert ipset.parse("create others hash:ip family inet\nadd others 10.0.0.1\n") == {}
