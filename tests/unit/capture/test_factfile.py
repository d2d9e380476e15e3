"""Facts of a host survive a file, and a wrong file tells each of its faults."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.capture import factfile
from interceptor.capture.factfile import Saved
from interceptor.capture.plan import Facts
from interceptor.errors import ConfigError

ADDRESS = st.ip_addresses()
FACTS = st.builds(
    Facts,
    own_addresses=st.lists(ADDRESS, max_size=4).map(tuple),
    servers=st.lists(ADDRESS, max_size=3).map(tuple),
    has_ipv6=st.booleans(),
    route_source4=st.none() | st.ip_addresses(v=4),
    route_source6=st.none() | st.ip_addresses(v=6),
    routed4=st.booleans(),
    routed6=st.booleans(),
)
SEARCHES = st.sampled_from(((), ("corp.example", "example")))
SAVED = st.builds(Saved, FACTS, SEARCHES, st.sampled_from(factfile.BACKENDS))


@given(SAVED, st.booleans())
def test_facts_survive_json_alone_or_among_other_things(saved: Saved, is_within: bool) -> None:
    tree = json.loads(json.dumps(factfile.encode(saved)))
    assert factfile.decode({"facts": tree} if is_within else tree, "x") == saved


def test_every_fault_is_told_at_once() -> None:
    tree = {"own_addresses": ["here"], "has_ipv6": "yes", "search": "corp", "route_source4": "x"}
    tree["dns_backend"] = "bpf"
    with pytest.raises(ConfigError) as caught:
        factfile.decode(tree, "vm.json")
    keys = {problem.key for problem in caught.value.problems}
    assert keys == {"own_addresses", "has_ipv6", "search", "route_source4", "dns_backend"}
    assert {problem.where for problem in caught.value.problems} == {"vm.json"}


@pytest.mark.parametrize("tree", [[], None, {}, {"rules": []}, "text"])
def test_another_file_is_told_from_facts(tree: object) -> None:
    with pytest.raises(ConfigError, match="plan --facts"):
        factfile.decode(tree, "x")


@given(
    st.dictionaries(
        st.sampled_from(tuple(factfile.encode(Saved(Facts())))),
        st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text(), max_size=2),
    )
)
def test_whatever_stands_there_only_faults_are_raised(tree: dict[str, object]) -> None:
    try:
        factfile.decode(tree, "x")
    except ConfigError as error:
        assert error.problems
