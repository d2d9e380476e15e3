from __future__ import annotations

from ipaddress import IPv4Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.mesh import field
from interceptor.mesh.field import Notes


@given(st.one_of(st.ip_addresses().map(str), st.text("0123456789.:af\0", max_size=15)))
def test_addresses_are_read_as_the_standard_library_reads_them(text: str) -> None:
    notes: Notes = []
    found = field.endpoint_address(notes, "k", text, names=False)
    try:
        expected = ip_address(text)
    except ValueError:
        assert found is None
        assert notes
    else:
        assert found == expected
        assert type(found) is type(expected)
        assert not notes


@pytest.mark.parametrize(
    "text", ["0.0.0.0", "::", "fe80::1%eth0", "010.0.0.1", "10.0.0.1 ", "", "\0", "10.0.0.1\0"]
)
def test_what_nobody_can_call_is_no_address(text: str) -> None:
    notes: Notes = []
    field.address(notes, "k", text)
    assert [note.key for note in notes] == ["k"]


@pytest.mark.parametrize(
    ("text", "legal"),
    [
        ("a", True),
        ("a.b-c.d", True),
        ("*.a", True),
        ("A.", True),
        ("a" * 63 + ".b", True),
        ("a" * 64 + ".b", False),
        (".".join(["a" * 62] * 4) + ".b", True),
        (".".join(["a" * 62] * 4) + ".bcd", False),
        ("", False),
        (".", False),
        ("a..b", False),
        ("*", False),
        ("a.*.b", False),
        ("**.a", False),
        ("-a", False),
        ("a_b", False),
        ("é.example", False),
        ("a\n", False),
    ],
)
def test_a_host_is_a_dns_name_or_a_wildcard(text: str, legal: bool) -> None:
    notes: Notes = []
    found = field.host(notes, "k", text)
    assert (not notes) is legal
    if legal:
        assert found == text.lower().removesuffix(".")


@pytest.mark.parametrize(
    ("export_to", "owner", "viewer", "visible"),
    [
        ((), "a", "b", True),
        (("*",), "a", "b", True),
        ((".",), "a", "b", False),
        ((".",), "b", "b", True),
        (("c", "b"), "a", "b", True),
        (("c",), "b", "b", False),
        (("~",), "b", "b", False),
    ],
)
def test_export_to_says_who_sees(
    export_to: tuple[str, ...], owner: str, viewer: str, visible: bool
) -> None:
    assert field.is_visible(export_to, owner, viewer) is visible


def test_labels_have_one_order() -> None:
    assert field.labels({"b": "1", "a": "2"}) == field.labels({"a": "2", "b": "1"})


def test_every_repetition_is_noted() -> None:
    notes: Notes = []
    field.unique(notes, [("k0", 1), ("k1", 2), ("k2", 1), ("k3", 1)], "once")
    assert [note.key for note in notes] == ["k2", "k3"]


def test_families_are_told_apart() -> None:
    assert field.is_v4(IPv4Address("10.0.0.1"))
    assert not field.is_v4(ip_address("::1"))
    assert not field.is_v4("a.example")
