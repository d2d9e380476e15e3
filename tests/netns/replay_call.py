"""Sends generated flows for real, one after the other, and keeps what came back of each."""

from __future__ import annotations

import socket

from tests.netns.replay_flow import PEER, VM, Fate, Sent

LIMIT_S = 5.0


def send(flows: list[Sent]) -> list[Fate]:
    """Called in a process of the flows' user on the host that sends them."""
    return [_udp(one) if one.protocol == "udp" else _tcp(one) for one in flows]


def _open(one: Sent, kind: socket.SocketKind) -> tuple[socket.socket, str]:
    is_six = ":" in one.destination or one.mapped
    opened = socket.socket(socket.AF_INET6 if is_six else socket.AF_INET, kind)
    opened.settimeout(LIMIT_S)
    return opened, f"::ffff:{one.destination}" if one.mapped else one.destination


def _source(opened: socket.socket) -> tuple[str, int]:
    address, port = opened.getsockname()[:2]
    return str(address).removeprefix("::ffff:"), int(port)


def _udp(one: Sent) -> Fate:
    opened, address = _open(one, socket.SOCK_DGRAM)
    with opened:
        opened.connect((address, one.port))
        opened.send(one.messages[0])
        try:
            return Fate(*_source(opened), (opened.recv(65535),))
        except OSError as error:
            return Fate(*_source(opened), (), f"lost: {error}")


def _tcp(one: Sent) -> Fate:
    opened, address = _open(one, socket.SOCK_STREAM)
    with opened:
        try:
            opened.connect((address, one.port))
        except ConnectionRefusedError:
            return Fate(*_refused(one), (), "refused")
        except OSError as error:
            return Fate(*_refused(one), (), f"lost: {error}")
        source = _source(opened)
        if not one.messages:
            return Fate(*source, (), opened.recv(200).decode())
        with opened.makefile("rb") as file:
            replies = tuple(_ask(opened, file, message) for message in one.messages)
        return Fate(*source, replies)


def _refused(one: Sent) -> tuple[str, int]:
    """A socket that was refused has lost its ends: an address of its host serves."""
    return (PEER if one.arrives else VM)[":" in one.destination], 1


def _ask(opened: socket.socket, file: object, message: bytes) -> bytes:
    opened.sendall(len(message).to_bytes(2, "big") + message)
    size = int.from_bytes(file.read(2), "big")  # type: ignore[attr-defined]
    return bytes(file.read(size))  # type: ignore[attr-defined]
