"""The daemon's decisions, from a socket that speaks as the daemon does."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from interceptor.debug import event
from interceptor.debug.control import SOCKET_NAME
from interceptor.debug.event import Event, Kind
from interceptor.hearing import Listener

EVENT = Event(1.0, Kind.DNS, "kernel", "answer", name="a.example")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / SOCKET_NAME))
        server.listen()
        yield server


def speak(server: socket.socket, *lines: object) -> None:
    def run() -> None:
        client, _ = server.accept()
        with client:
            client.recv(4096)
            text = "".join(f"{json.dumps(line)}\n" for line in lines)
            client.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + text.encode())

    threading.Thread(target=run, daemon=True).start()


def wait(listener: Listener) -> list[Event]:
    found: list[Event] = []
    until = time.monotonic() + 5
    while not found and time.monotonic() < until:
        found = list(listener.read())
        time.sleep(0.01)
    return found


def test_events_are_heard_and_what_was_left_out_is_counted(
    tmp_path: Path, daemon: socket.socket
) -> None:
    speak(daemon, {"left_out": 3}, {"kind": "nonsense"}, event.encode(EVENT))
    listener = Listener(tmp_path)
    listener.open()
    assert wait(listener) == [EVENT]
    listener.close()
    assert (listener.heard, listener.left_out, listener.trouble) == (1, 4, "")


def test_without_a_daemon_it_is_told_why_nothing_is_heard(tmp_path: Path) -> None:
    listener = Listener(tmp_path)
    listener.open()
    until = time.monotonic() + 5
    while not listener.trouble and time.monotonic() < until:
        time.sleep(0.01)
    listener.close()
    assert "no daemon answers" in listener.trouble
    assert list(listener.read()) == []
