"""Bytes both ways over a real connection, and who may use it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from interceptor.host.outlet import Outlet, open_outlet

MARK = 0x1DC0


@contextlib.asynccontextmanager
async def leading() -> AsyncIterator[tuple[Outlet, socket.socket]]:
    """An outlet, and the server's end of its connection."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        outlet = await open_outlet("127.0.0.1", listening.getsockname()[1], MARK, 20)
        far, _ = await loop.sock_accept(listening)
        with far:
            try:
                yield outlet, far
            finally:
                await outlet.close()


def name(outlet: Outlet) -> str:
    return outlet.address.replace("unix-abstract:", "\0")


def test_bytes_go_both_ways_and_an_end_is_handed_on() -> None:
    async def go() -> None:
        loop = asyncio.get_running_loop()
        async with leading() as (outlet, far), asyncio.timeout(20):
            reader, writer = await asyncio.open_unix_connection(name(outlet))
            data = bytes(range(256)) * 4096
            writer.write(data)
            received = b""
            while len(received) < len(data):
                received += await loop.sock_recv(far, 1 << 20)
            assert received == data
            await loop.sock_sendall(far, b"back")
            assert await reader.readexactly(4) == b"back"
            far.shutdown(socket.SHUT_WR)
            assert await reader.read() == b""
            writer.close()
            assert await loop.sock_recv(far, 10) == b""

    asyncio.run(go())


def test_another_process_does_not_get_in() -> None:
    async def go() -> None:
        async with leading() as (outlet, far), asyncio.timeout(20):
            program = f"""
import socket
s = socket.socket(socket.AF_UNIX)
s.connect({name(outlet)!r})
print(s.recv(1))
"""
            stranger = await asyncio.create_subprocess_exec(
                sys.executable, "-c", program, stdout=subprocess.PIPE
            )
            out, _err = await stranger.communicate()
            assert out == b"b''\n"
            _reader, writer = await asyncio.open_unix_connection(name(outlet))
            writer.write(b"x")
            assert await asyncio.get_running_loop().sock_recv(far, 1) == b"x"
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_unix_connection(name(outlet))
            writer.close()

    asyncio.run(go())


def test_a_port_that_nobody_listens_on_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as once:
        port = once.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        asyncio.run(open_outlet("127.0.0.1", port, MARK, 20))


def test_closing_ends_the_connection_even_when_nobody_came() -> None:
    async def go() -> None:
        async with leading() as (outlet, far):
            await outlet.close()
            assert await asyncio.get_running_loop().sock_recv(far, 1) == b""

    asyncio.run(go())
