"""Queries as clients send them: functions that run in a process of their own on a host."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

SO_BINDTODEVICE = 25


@dataclass(frozen=True, slots=True)
class Socket:
    """How a datagram socket asks."""

    is_connected: bool = True
    source: str = ""
    device: str = ""
    mark: int = 0
    timeout_s: float = 2.0


CONNECTED = Socket()


def family_of(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def prepare(one: socket.socket, device: str, mark: int) -> None:
    """Set what a socket of any type may have."""
    if mark:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
    if device:
        one.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, device.encode())


def ask(server: str, queries: tuple[bytes, ...], how: Socket) -> list[bytes]:
    """The replies to queries that are sent at once from one socket, in the order of arrival.

    Raises TimeoutError, or AssertionError for a reply from anybody else than the server.
    """
    with socket.socket(family_of(server), socket.SOCK_DGRAM) as one:
        prepare(one, how.device, how.mark)
        one.settimeout(how.timeout_s)
        if how.source:
            one.bind((how.source, 0))
        place = socket.getaddrinfo(server, 53, one.family, one.type)[0][4]  # with its zone
        if how.is_connected:
            one.connect(place)
            for query in queries:
                one.send(query)
        else:
            for query in queries:
                one.sendto(query, place)
        replies = []
        for _ in queries:
            reply, source = one.recvfrom(65535)
            address = source[0].partition("%")[0]
            assert (address, source[1]) == (server.partition("%")[0], 53), source
            replies.append(reply)
        return replies


def send(server: str, packets: tuple[bytes, ...]) -> None:
    """Packets to a server, whose replies nobody waits for."""
    with socket.socket(family_of(server), socket.SOCK_DGRAM) as one:
        for packet in packets:
            one.sendto(packet, (server, 53))


def ask_tcp(server: str, queries: tuple[bytes, ...]) -> list[bytes]:
    """The replies to queries written at once on one TCP connection (RFC 7766)."""
    with socket.create_connection((server, 53), 3) as one:
        one.sendall(b"".join(struct.pack(">H", len(query)) + query for query in queries))
        stream = one.makefile("rb")
        return [stream.read(struct.unpack(">H", stream.read(2))[0]) for _ in queries]
