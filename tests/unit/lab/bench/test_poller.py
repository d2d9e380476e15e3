from __future__ import annotations

import socket
import time

import pytest

from interceptor.lab.bench import poller


def test_a_change_is_told_once_and_strangers_are_passed_over() -> None:
    answers = iter(["left", "left", "rest", "left", "right", "rest", "right", "left"])

    def ask() -> str:
        found = next(answers, "")
        return found

    told = poller.changes(ask, ("left", "right"), time.monotonic() + 0.2)
    assert list(told) == ["left", "right", "left"]


def test_an_answer_in_pieces_is_read_whole() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"HTTP/1.1 200 OK\r\nConte")
        theirs.sendall(b"nt-Length: 5\r\n\r\nleft\n")
        assert poller.receive(ours) == "left"


def test_another_status_is_an_error() -> None:
    with pytest.raises(ValueError, match="503"):
        poller.decode(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0")


def test_a_broken_connection_is_an_error() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        theirs.close()
        with pytest.raises(ConnectionError):
            poller.receive(ours)
