"""Names as text."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.mesh import name

ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))


def test_what_stands_above_a_suffix_is_found_at_label_borders_only() -> None:
    assert name.above("a.b.corp.test", "corp.test") == "a.b"
    assert name.above("acorp.test", "corp.test") is None
    assert name.above("corp.test", "corp.test") is None
    assert name.above(".corp.test", "corp.test") is None


def test_a_zone_holds_its_apex_and_what_is_below() -> None:
    assert name.is_within("a.mesh", "mesh")
    assert name.is_within("mesh", "mesh")
    assert name.is_within("anything", "")
    assert not name.is_within("amesh", "mesh")


def test_parents_come_longest_first() -> None:
    assert list(name.parents("a.b.c")) == ["b.c", "c"]
    assert list(name.parents("c")) == []


@given(ADDRESSES)
def test_every_reverse_name_gives_its_address_back(address: IPv4Address | IPv6Address) -> None:
    assert name.reversed_address(address.reverse_pointer) == address.packed


@pytest.mark.parametrize(
    "text",
    [
        "0.10.in-addr.arpa",
        "1.2.3.4.5.in-addr.arpa",
        "256.0.0.10.in-addr.arpa",
        "01.0.0.10.in-addr.arpa",
        "².0.0.10.in-addr.arpa",
        "x.0.0.10.in-addr.arpa",
        "in-addr.arpa",
        "1.ip6.arpa",
        ip_address("::1").reverse_pointer.replace("1", "10", 1),
        "10.0.0.1",
    ],
)
def test_partial_and_misspelt_reverse_names_are_nobodys(text: str) -> None:
    assert name.reversed_address(text) is None
