"""What waits in a queue, without one: tests/netns has the kernel's."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

import pytest

from interceptor.host import waitqueue
from interceptor.host.waitqueue import Row

ROWS = "    7  4711     2 2  4016    11    12       13  1\n15053 1 0 2 4016 3 4 5 1\n"


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "nfnetlink_queue"
    file.write_text(ROWS)
    monkeypatch.setattr(waitqueue, "PROC_QUEUES", file)
    return file


def test_a_queues_row_is_read(rows: Path) -> None:
    assert waitqueue.observe(15053) == Row(0, 3, 4, 5)
    assert waitqueue.observe(7) == Row(2, 11, 12, 13)
    assert waitqueue.observe(8) is None
    rows.unlink()
    assert waitqueue.observe(7) is None


def test_nothing_is_sent_through_what_is_no_netfilter_socket(rows: Path) -> None:
    """A descriptor's number may have become another's."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with pytest.raises(OSError, match="no netfilter socket"):
            waitqueue.accept_all(ours.fileno(), 7)
        assert waitqueue.settle(os.dup(ours.fileno()), 7, 0.05) == 0
        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            theirs.recv(1)


def test_a_queue_whose_reader_lives_is_left_to_it(rows: Path) -> None:
    descriptor = os.open("/dev/null", os.O_RDONLY)
    assert waitqueue.settle(descriptor, 15053, 5) == 0
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_request_is_sound_netlink() -> None:
    request = waitqueue.encode_settings(15053, {4: 1, 5: 1})
    length, kind, flags = struct.unpack_from("=IHH", request)
    assert (length, kind, flags) == (len(request), 0x0302, 1)
    assert struct.unpack_from("!H", request, 18) == (15053,)
    assert struct.unpack_from("=HH", request, 20) == (8, 4)
    assert struct.unpack_from("!I", request, 24) == (1,)
    assert struct.unpack_from("=HH", request, 28) == (8, 5)
