"""Word to systemd, with a socket of our own in its place."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from interceptor.host import notify


def test_a_message_reaches_the_notify_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        assert notify.send("READY=1", {"NOTIFY_SOCKET": path})
        assert listener.recv(100) == b"READY=1"


def test_an_abstract_socket_is_reached_too() -> None:
    name = f"interceptor-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + name)
        assert notify.send("STATUS=x", {"NOTIFY_SOCKET": "@" + name})
        assert listener.recv(100) == b"STATUS=x"


def test_without_systemd_nothing_happens(tmp_path: Path) -> None:
    assert not notify.send("READY=1", {})
    assert not notify.send("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "nobody")})


def test_the_watchdog_wants_word_several_times_in_its_time() -> None:
    assert notify.watchdog_interval_s({"WATCHDOG_USEC": "10000000"}) == 2.5
    assert notify.watchdog_interval_s({}) is None
    assert notify.watchdog_interval_s({"WATCHDOG_USEC": "10", "WATCHDOG_PID": "1"}) is None
