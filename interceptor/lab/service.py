"""The backends of a service host: small HTTP and greeting TCP servers that say who they are.

Run as ``python -m interceptor.lab.service http:reviews-v1:9080:10.77.0.41 ...``; one
process serves every backend of a host. It prints ``ready`` once all of them listen.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from ipaddress import ip_address

from interceptor.lab.description import Served, Speech

REQUEST_LIMIT = 64 * 1024
IDLE_S = 60.0

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[None, None, None]]


def encode(served: Served) -> str:
    """A backend as one word of the command line."""
    addresses = ",".join(str(address) for address in served.addresses)
    return f"{served.speech.value}:{served.name}:{served.port}:{addresses}"


def decode(word: str) -> Served:
    """The inverse of `encode`. Raises ValueError for anything else."""
    speech, name, port, addresses = word.split(":", 3)
    return Served(
        name, int(port), tuple(ip_address(text) for text in addresses.split(",")), Speech(speech)
    )


def answer(name: str, peer: str, request_line: str) -> bytes:
    """One HTTP/1.1 response: the backend's name, and in headers what it saw."""
    body = f"{name}\n".encode()
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
        + f"Content-Length: {len(body)}\r\nX-Lab-Peer: {peer}\r\n".encode()
        + f"X-Lab-Request: {request_line}\r\n\r\n".encode()
        + body
    )


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        key, _, value = line.partition(b":")
        if key.strip().lower() == b"content-length":
            return min(int(value), REQUEST_LIMIT)
    return 0


async def serve_http(name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Requests of one connection, until it ends, idles or asks for ``close``."""
    peer = str(writer.get_extra_info("peername")[0])
    try:
        while True:
            async with asyncio.timeout(IDLE_S):
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(_length(head))
            line = head.split(b"\r\n", 1)[0].decode("latin-1")
            writer.write(answer(name, peer, line))
            await writer.drain()
            if b"connection: close" in head.lower():
                break
    except (OSError, TimeoutError, EOFError, asyncio.LimitOverrunError, ValueError):
        pass
    finally:
        writer.close()


async def serve_tcp(name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The server speaks first, as MySQL does; then each line comes back with the name before it."""
    try:
        writer.write(f"{name} ready, you are {writer.get_extra_info('peername')[0]}\n".encode())
        while True:
            async with asyncio.timeout(IDLE_S):
                line = await reader.readline()
            if not line:
                break
            writer.write(name.encode() + b": " + line)
            await writer.drain()
    except (OSError, TimeoutError, ValueError):
        pass
    finally:
        writer.close()


async def run(backends: Iterable[Served]) -> None:
    """Serve until cancelled. Raises OSError where an address cannot be bound."""
    servers = []
    for served in backends:
        serve: Serve = partial(
            serve_http if served.speech is Speech.HTTP else serve_tcp, served.name
        )
        for address in served.addresses:
            servers.append(
                await asyncio.start_server(
                    serve, str(address), served.port, limit=REQUEST_LIMIT, backlog=1024
                )
            )
    print("ready", flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(run(decode(word) for word in sys.argv[1:]))
