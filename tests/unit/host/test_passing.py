"""Connections of our own to this host; tests/netns/test_health.py has the rules."""

from __future__ import annotations

import asyncio
import socket

import pytest

from interceptor.host import passing


def test_a_connection_to_ourselves_comes_from_istio_s_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with asyncio.run(passing.connect("127.0.0.1", port, 0x1DC0)) as opened:
            assert opened.getpeername() == ("127.0.0.1", port)
            accepted, source = server.accept()
            accepted.close()
    assert source[0] == "127.0.0.6"


def test_every_address_of_a_name_is_tried() -> None:
    """localhost is ::1 first where the host has it, and nobody listens there."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with asyncio.run(passing.connect("localhost", port, 0x1DC0)) as opened:
            assert opened.getpeername()[1] == port


def test_a_refusal_is_told_in_the_kernel_s_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ConnectionRefusedError, match="Connection refused"):
        asyncio.run(passing.connect("127.0.0.1", port, 0x1DC0))


def test_a_name_of_nobody_is_an_oserror() -> None:
    with pytest.raises(OSError, match=r"."):
        asyncio.run(passing.connect("no.such.host.invalid", 1, 0x1DC0))
