"""Listening sockets that are served by an event loop, also where descriptors run out.

asyncio accepts as many connections at a time as its ``backlog`` says. When one
fails for want of descriptors (EMFILE) it pauses for a second, but only after it
has tried all the others too: a hundred log lines a second, and as many timers.
With a backlog of one it behaves. The kernel's queue is as long as it should be
all the same: whoever listens again sets it anew (listen(2)).
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Awaitable, Callable

QUEUE = 128  # connections that wait in the kernel to be accepted
AT_ONCE = 1
TURNS = 5  # of the loop, from accept(2) to the coroutine that serves


class _Refusal(asyncio.Protocol):
    """Of a connection that is one too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()


async def serve(
    factory: Callable[[], asyncio.BaseProtocol],
    listener: socket.socket,
    has_room: Callable[[], bool] = lambda: True,
) -> asyncio.Server:
    """Serve a bound socket, which is the server's from now on. Connections that come while
    there is no room are reset."""
    loop = asyncio.get_running_loop()

    def make() -> asyncio.BaseProtocol:
        return factory() if has_room() else _Refusal()

    server = await loop.create_server(make, sock=listener, backlog=AT_ONCE)
    listener.listen(QUEUE)
    return server


async def serve_streams(
    accept: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    listener: socket.socket,
) -> asyncio.Server:
    """The same with a coroutine for each connection (``accept``), as `asyncio.start_server`."""
    loop = asyncio.get_running_loop()

    def make() -> asyncio.BaseProtocol:
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(loop=loop), accept, loop=loop)

    return await serve(make, listener)


async def accept_waiting(server: asyncio.Server) -> None:
    """Take those who are connected and wait to be accepted: the listener's end would reset them."""
    for listener in server.sockets:
        waiting = select.poll()
        waiting.register(listener.fileno(), select.POLLIN)
        for _ in range(QUEUE):
            if not waiting.poll(0):
                break
            await asyncio.sleep(0)
    for _ in range(TURNS):
        await asyncio.sleep(0)


def bind_tcp(host: str, port: int) -> socket.socket:
    """A socket of the address's family; of IPv6 it takes no IPv4. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=QUEUE)


def bind_unix(path: str) -> socket.socket:
    """A socket at a path that is free. Raises OSError."""
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(path)
    except OSError:
        listener.close()
        raise
    return listener
