"""What became of a connection, told apart by the kernel's own ways to end one."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from threading import Thread

import pytest

from interceptor.host import dial

LO = ip_address("127.0.0.1")


@contextmanager
def server(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def body() -> None:
            client, _ = listening.accept()
            with client:
                serve(client)

        thread = Thread(target=body)
        thread.start()
        yield listening.getsockname()[1]
        thread.join(5)


def test_a_greeting_and_a_reply_are_told_apart() -> None:
    def serve(client: socket.socket) -> None:
        client.sendall(b"220 hello")
        client.recv(100)
        client.sendall(b"HTTP/1.1 200 OK\r\n")

    with server(serve) as port:
        found = dial.connect(LO, port, b"HEAD /")
    assert (found.result, found.greeting, found.peer) == ("connected", b"220 hello", "127.0.0.1")
    assert found.reply.startswith(b"HTTP/1.1 200")


def test_one_that_is_closed_at_once_is_told() -> None:
    with server(lambda client: None) as port:
        assert dial.connect(LO, port).result == "closed"


def test_one_that_is_reset_is_told() -> None:
    def serve(client: socket.socket) -> None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with server(serve) as port:
        assert dial.connect(LO, port).result == "reset"


def test_one_that_is_refused_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    assert dial.connect(LO, port).result == "refused"


def test_one_that_nobody_takes_ends_in_time() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        port = listening.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        assert dial.connect(LO, port, timeout_s=0.2).result == "timeout"
        for each in waiting:
            each.close()


def test_a_way_there_is_asked_of_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    assert dial.has_route(LO)

    def refuse(*_where: object) -> None:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(dial, "_open", refuse)
    assert not dial.has_route(LO)


def test_a_query_without_an_answer_ends_in_time() -> None:
    with pytest.raises(OSError, match=r"timed out|refused"):
        dial.ask(ip_address("127.0.0.9"), b"\0\1", timeout_s=0.1)
