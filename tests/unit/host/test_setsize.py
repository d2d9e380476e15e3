"""A message of ipset as the kernel sent it (Linux 6.18, protocol 6 asked for)."""

from __future__ import annotations

from interceptor.host import setsize

MESSAGE = bytes.fromhex(
    "02000000"
    "0500010006000000"
    "1a000200696e746572636570746f725f6f7574626f756e6434000000"
    "0d000300686173683a6e657400000000"
    "0500050002000000"
    "0500040007000000"
    "3c000780"
    "0800124000000400"
    "0800134000100000"
    "050015000c000000"
    "0800114090984b80"
    "0800194000000000"
    "08001a4000000258"
    "0800184000000003"
)


def test_name_and_size_are_read() -> None:
    assert setsize.parse(MESSAGE) == {"interceptor_outbound4": 3}


def test_what_is_cut_short_or_of_another_kind_says_nothing() -> None:
    for length in range(len(MESSAGE)):
        assert setsize.parse(MESSAGE[:length]) in ({}, {"interceptor_outbound4": 0})
    assert setsize.parse(b"\xff" * 64) == {}
    assert setsize.parse(b"\0" * 64) == {}
