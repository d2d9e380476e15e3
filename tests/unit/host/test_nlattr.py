"""Netlink's framing: what is written is read, and rubbish ends the walk."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from interceptor.host import nlattr

ATTRIBUTES = st.lists(st.tuples(st.integers(0, nlattr.TYPE), st.binary(max_size=40)))


@settings(deadline=None)
@given(ATTRIBUTES)
def test_attributes_are_read_as_they_were_written(wanted: list[tuple[int, bytes]]) -> None:
    data = b"".join(nlattr.encode(*one) for one in wanted)
    assert len(data) % 4 == 0
    assert list(nlattr.attributes(data)) == wanted


def test_flags_of_an_attribute_are_no_part_of_its_type() -> None:
    assert list(nlattr.attributes(nlattr.encode(0x8000 | 5, b"a"))) == [(5, b"a")]


def test_messages_follow_each_other_aligned() -> None:
    one = nlattr.HEADER.pack(nlattr.HEADER.size + 3, 7, 0, 0, 0) + b"abc"
    two = nlattr.HEADER.pack(nlattr.HEADER.size, 8, 0, 0, 0)
    assert list(nlattr.messages(one + b"\0" + two)) == [(7, b"abc"), (8, b"")]


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_rubbish_is_no_harm(data: bytes) -> None:
    list(nlattr.attributes(data))
    list(nlattr.messages(data))
