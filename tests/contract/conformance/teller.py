"""A TCP server that tells each caller who it is and who called, then echoes.

Run on a host of a lab as ``python -m tests.contract.conformance.teller PORT... ADDRESS...``;
it listens on the ports at every address of both families, and prints ``ready``. From its
first line, ``CALLER PORT OWN PORT``, a client knows whether anybody stood between. At the
addresses it is a DNS server of a sort: what is sent to port 53 comes back as it is.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import cast

from interceptor.lab import service


def greeting(writer: asyncio.StreamWriter) -> bytes:
    """The first line: the caller's address and port, then ours."""
    words = [*writer.get_extra_info("peername")[:2], *writer.get_extra_info("sockname")[:2]]
    return (" ".join(map(str, words)).replace("::ffff:", "") + "\n").encode()


async def tell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection, until it ends or idles."""
    try:
        writer.write(greeting(writer))
        while True:
            async with asyncio.timeout(service.IDLE_S):
                data = await reader.read(65536)
            if not data:
                break
            writer.write(data)
            await writer.drain()
    except (OSError, TimeoutError):
        pass
    finally:
        writer.close()


class Echo(asyncio.DatagramProtocol):
    """Sends every datagram back to where it came from."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(data, addr)


def bind(address: str) -> socket.socket:
    """Port 53 of one address, beside a server that has it on all of them."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    one = socket.socket(family, socket.SOCK_DGRAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind((address, 53))
    return one


async def run(ports: list[int], addresses: list[str]) -> None:
    """Serve until cancelled. Raises OSError where a port is taken."""
    loop, servers = asyncio.get_running_loop(), []
    for address in addresses:
        await loop.create_datagram_endpoint(Echo, sock=bind(address))
    for port in ports:
        listener = socket.create_server(
            ("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024
        )
        servers.append(await asyncio.start_server(tell, sock=listener))
    print("ready", flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    words = sys.argv[1:]
    numbers = [int(word) for word in words if word.isdigit()]
    asyncio.run(run(numbers, [word for word in words if not word.isdigit()]))
