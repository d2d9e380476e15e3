"""DNS messages on a TCP stream, each with its length in front (RFC 1035 §4.2.2)."""

from __future__ import annotations

import asyncio
import socket
import struct

WRITE_S = 30.0  # a peer that does not read


def is_whole(message: bytes) -> bool:
    return len(message) > 2 and int.from_bytes(message[:2], "big") == len(message) - 2


async def message(reader: asyncio.StreamReader, start: bytes | None = None) -> bytes:
    """The next message with its length in front (``start``: its first byte, if read already);
    empty at the end of the stream, and what there is of it where that ends in the middle."""
    if start == b"":
        return b""
    size = start or b""
    try:
        size += await reader.readexactly(2 - len(size))
        return size + await reader.readexactly(int.from_bytes(size, "big"))
    except asyncio.IncompleteReadError as error:
        return size + error.partial


async def send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    async with asyncio.timeout(WRITE_S):
        await writer.drain()


def reset(writer: asyncio.StreamWriter) -> None:
    """End as the server behind would have: by a reset, not by a polite end of stream."""
    client = writer.get_extra_info("socket")
    if client is not None and client.fileno() >= 0:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("@ii", 1, 0))
    writer.transport.abort()
