"""Lookups as a stub resolver makes them: glibc's times, both transports, sockets kept and new.

resolv.conf(5): each server in turn, five seconds each, twice round. A lookup is lost when
none of its queries has been answered.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from random import randrange
from time import monotonic

from tests.chaos.record import LOST, Record, What

TYPES = {"A": 1, "AAAA": 28}
TIMEOUT_S = 5.0
ROUNDS = 2
HURRY_S = 0.3  # after a connection that was refused or reset at once


def servers(resolv_conf: Path) -> list[str]:
    """The name servers of a resolv.conf, the first three, as glibc reads it."""
    lines = [line.split() for line in resolv_conf.read_text().splitlines()]
    return [words[1] for words in lines if words[:1] == ["nameserver"]][:3]


def encode(asked: str) -> bytes:
    """A query for ``NAME TYPE``, recursion desired (RFC 1035 section 4.1)."""
    name, kind = asked.split()
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    head = struct.pack(">6H", randrange(65536), 0x0100, 1, 0, 0, 0)
    return head + labels + b"\0" + struct.pack(">2H", TYPES[kind], 1)


def _skip_name(data: bytes, at: int) -> int:
    while data[at]:
        if data[at] >= 0xC0:
            return at + 2
        at += 1 + data[at]
    return at + 1


def decode(reply: bytes, query: bytes) -> str:
    """``RCODE ADDRESS...``, the addresses sorted. Raises ValueError where it is no reply to
    ``query``, and what a message that is cut short raises."""
    number, flags, _, answers = struct.unpack_from(">4H", reply)
    question = query[12:]
    if number != struct.unpack_from(">H", query)[0] or not flags & 0x8000:
        raise ValueError("not a reply to this query")
    if reply[12 : 12 + len(question)] != question:
        raise ValueError("another question")
    at, found = 12 + len(question), []
    for _ in range(answers):
        at = _skip_name(reply, at)
        kind, _, _, size = struct.unpack_from(">HHIH", reply, at)
        data, at = reply[at + 10 : at + 10 + size], at + 10 + size
        if kind == TYPES["A"]:
            found.append(str(IPv4Address(data)))
        elif kind == TYPES["AAAA"]:
            found.append(str(IPv6Address(data)))
    return " ".join([str(flags & 0xF), *sorted(found)])


class _Waiting(asyncio.DatagramProtocol):
    """One socket; its replies go to whoever waits for their number."""

    def __init__(self, arrived: asyncio.Future[bytes], query: bytes) -> None:
        self._arrived, self._query = arrived, query

    def datagram_received(self, data: bytes, addr: object) -> None:
        if data[:2] == self._query[:2] and not self._arrived.done():
            self._arrived.set_result(data)


async def ask_udp(what: What, asked: str, places: Sequence[str]) -> Record:
    """One lookup, each query from a socket of its own; a late reply to an earlier one counts."""
    loop = asyncio.get_running_loop()
    query, began_s, tries = encode(asked), monotonic(), list[float]()
    arrived: asyncio.Future[bytes] = loop.create_future()
    sockets: list[asyncio.DatagramTransport] = []
    try:
        for place in [*places] * ROUNDS:
            sent_s = monotonic()
            tries.append(sent_s)
            # No route, or no address, while a link is down: the time passes as on a lost query.
            with suppress(OSError):
                transport, _ = await loop.create_datagram_endpoint(
                    lambda: _Waiting(arrived, query), remote_addr=(place, 53)
                )
                sockets.append(transport)
                transport.sendto(query)
            await asyncio.wait([arrived], timeout=sent_s + TIMEOUT_S - monotonic())
            if arrived.done():
                got = decode(arrived.result(), query)
                return Record(what, began_s, monotonic(), asked, got, tuple(tries))
        return Record(what, began_s, monotonic(), asked, LOST, tuple(tries))
    finally:
        for transport in sockets:
            transport.close()


async def _converse(place: str, query: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(place, 53)
    try:
        writer.write(struct.pack(">H", len(query)) + query)
        size = struct.unpack(">H", await reader.readexactly(2))[0]
        return await reader.readexactly(size)
    finally:
        writer.close()


async def ask_tcp(what: What, asked: str, places: Sequence[str]) -> Record:
    """One lookup, each query on a connection of its own."""
    query, began_s, tries = encode(asked), monotonic(), list[float]()
    for place in [*places] * ROUNDS:
        tries.append(monotonic())
        try:
            async with asyncio.timeout(TIMEOUT_S):
                got = decode(await _converse(place, query), query)
            return Record(what, began_s, monotonic(), asked, got, tuple(tries))
        except (OSError, TimeoutError, EOFError):
            await asyncio.sleep(HURRY_S)
    return Record(what, began_s, monotonic(), asked, LOST, tuple(tries))


class Kept:
    """One socket for many lookups, as a resolver on the host has it towards its upstream."""

    def __init__(self, place: str) -> None:
        self.place = place
        family = socket.AF_INET6 if ":" in place else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    async def ask(self, what: What, asked: str) -> Record:
        """One lookup, by `sendto`, with glibc's times."""
        loop = asyncio.get_running_loop()
        query, began_s, tries = encode(asked), monotonic(), list[float]()
        for _ in range(2 * ROUNDS):
            tries.append(monotonic())
            with suppress(OSError):
                await loop.sock_sendto(self._socket, query, (self.place, 53))
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    while True:
                        data, _ = await loop.sock_recvfrom(self._socket, 4096)
                        if data[:2] == query[:2]:
                            break
                return Record(what, began_s, monotonic(), asked, decode(data, query), tuple(tries))
            except TimeoutError:
                continue
        return Record(what, began_s, monotonic(), asked, LOST, tuple(tries))

    def close(self) -> None:
        self._socket.close()
