"""HTTP to the agent's port and to its control socket: any bytes, then the end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Iterable

from aiohttp import web

from interceptor.debug import http
from interceptor.debug.selection import Selection
from tests.fuzz.target import Target


async def nothing(_wanted: Selection) -> AsyncGenerator[bytes, None]:
    """A trace that has nothing to tell."""
    yield b'{"left_out": 0}\n'


PAGES = http.Pages(
    ready=lambda: (True, "ready"),
    metrics=lambda: b"a 1\n",
    status=lambda: {"ready": True},
    name_table=lambda: {"table": {}},
    sidecar=lambda: {"clusters": []},
    confirm=lambda: True,
    trace=nothing,
)
_LOOP = asyncio.new_event_loop()
_RUNNERS: list[web.AppRunner] = []


async def _server(number: int) -> web.Server:
    if not _RUNNERS:
        # Over a Unix socket nobody has an address to be looked up.
        http._is_root = lambda request: False  # type: ignore[assignment]
        for app in (http.build_public(PAGES), http.build_control(PAGES)):
            _RUNNERS.append(web.AppRunner(app, access_log=None))
            await _RUNNERS[-1].setup()
    server = _RUNNERS[number].server
    assert server is not None
    return server


async def _say(number: int, data: bytes) -> bytes:
    server = await _server(number)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_accepted_socket(server, theirs)
    await loop.sock_sendall(ours, data)
    ours.shutdown(socket.SHUT_WR)
    told = b""
    try:
        async with asyncio.timeout(10):
            while block := await loop.sock_recv(ours, 65536):
                told += block
    except ConnectionResetError:
        pass
    finally:
        ours.close()
        transport.close()
    return told


def run(data: bytes) -> None:
    told = _LOOP.run_until_complete(_say(data[0] & 1 if data else 0, data[1:20_000]))
    assert not told or told.startswith(b"HTTP/1."), told[:80]
    assert b" 500 " not in told.partition(b"\r\n")[0], told[:200]


def requests() -> Iterable[bytes]:
    for number, path in enumerate(("/healthz/ready", "/metrics", "/debug/ndsz", "/status")):
        yield bytes([number & 1]) + f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    yield b"\1POST /confirm HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
    chunked = b"Host: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"
    yield b"\1POST /confirm HTTP/1.1\r\n" + chunked


TARGETS = {"http": Target(run, requests, ("interceptor.debug.http",))}
