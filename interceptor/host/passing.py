"""Connections of the agent's own that no rule captures: by the mark of its sockets and, towards
this host itself, by Istio's source address for what was through inbound already."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from ipaddress import IPv4Address, ip_address

from interceptor.host import routechoice
from interceptor.host.dial import SO_MARK

SOURCE = IPv4Address("127.0.0.6")


async def connect(host: str, port: int, mark: int) -> socket.socket:
    """A TCP connection to a name or address, each of its addresses tried in turn.

    Raises OSError. Without root the socket has no mark; then nothing is captured either.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    failure: OSError | None = None
    for family, _, _, _, where in found:
        opened = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            opened.setblocking(False)
            _mark(opened, str(where[0]), mark)
            await loop.sock_connect(opened, where)
            return opened
        except OSError as error:
            opened.close()
            failure = OSError(error.errno, os.strerror(error.errno or 0))  # asyncio's says less
        except BaseException:
            opened.close()
            raise
    raise failure or OSError(f"{host} has no address")


def _mark(opened: socket.socket, address: str, mark: int) -> None:
    with suppress(PermissionError):
        opened.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
    destination = ip_address(address.partition("%")[0])
    # Only to ourselves: on a wire, loopback's addresses are dropped.
    if destination.version == 4 and routechoice.observe(destination).device == "lo":
        opened.bind((str(SOURCE), 0))
