"""Records for systemd's journal."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.host import journald


def decode(data: bytes) -> dict[str, bytes]:
    """The fields of a datagram, as journald reads them (its own parser's rules, not ours)."""
    found = {}
    while data:
        line, _, rest = data.partition(b"\n")
        key, is_plain, value = line.partition(b"=")
        if not is_plain:
            (length,) = struct.unpack_from("<Q", rest)
            value, data = rest[8 : 8 + length], rest[8 + length + 1 :]
            assert rest[8 + length : 8 + length + 1] == b"\n"
        else:
            data = rest
        found[key.decode()] = value
    return found


@given(st.dictionaries(st.from_regex(r"[A-Z][A-Z0-9_]{0,20}", fullmatch=True), st.text()))
def test_fields_arrive_as_they_were_sent(fields: dict[str, str]) -> None:
    assert decode(journald.encode(fields)) == {
        key: value.encode(errors="replace") for key, value in fields.items()
    }


def test_a_value_cannot_bring_fields_of_its_own() -> None:
    told = decode(journald.encode({"MESSAGE": "x\nPRIORITY=0\n_UID=0", "PRIORITY": "6"}))
    assert told == {"MESSAGE": b"x\nPRIORITY=0\n_UID=0", "PRIORITY": b"6"}


def test_long_values_are_cut() -> None:
    told = decode(journald.encode({"MESSAGE": "x" * (1 << 20)}))
    assert len(told["MESSAGE"]) == journald.MAXIMUM_BYTES


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("took_s", "INTERCEPTOR_TOOK_S"),
        ("a-b.c", "INTERCEPTOR_A_B_C"),
        ("x" * 99, "INTERCEPTOR_" + "X" * 52),
    ],
)
def test_names_are_such_as_the_journal_takes(key: str, expected: str) -> None:
    assert journald.name(key) == expected


def test_only_the_very_stream_that_systemd_names_leads_to_the_journal(tmp_path: Path) -> None:
    with (tmp_path / "stream").open("w") as file:
        status = os.fstat(file.fileno())
        named = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert journald.observe_connected(file.fileno(), named)
        assert not journald.observe_connected(file.fileno(), {})
        with (tmp_path / "other").open("w") as other:
            assert not journald.observe_connected(other.fileno(), named)
            closed = other.fileno()
        assert not journald.observe_connected(closed, named)


def test_without_a_journal_opening_says_so_and_after_its_end_sending_does(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        journald.Channel(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as taken:
        taken.bind(str(tmp_path / "socket"))
        channel = journald.Channel(tmp_path / "socket")
        assert channel.send({"MESSAGE": "here"})
        assert taken.recv(100) == b"MESSAGE=here\n"
    assert not channel.send({"MESSAGE": "gone"})
    assert channel.dropped == 1
    channel.close()
