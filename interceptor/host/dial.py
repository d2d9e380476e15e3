"""One connection, or one datagram and its answer, bounded in time: what became of it.

What a probe needs to look like a program of this host: a socket of its own, on a device where
that is asked; with a mark it passes our own rules, as the agent's sockets do.
"""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from time import perf_counter

Address = IPv4Address | IPv6Address

SO_MARK, SO_BINDTODEVICE = 36, 25  # asm-generic/socket.h
CONNECT_S, GREETING_S, REPLY_S = 2.0, 0.4, 2.0
TOLD_BYTES = 512

_RESULTS = {
    errno.ECONNREFUSED: "refused",
    errno.ENETUNREACH: "unreachable",
    errno.EHOSTUNREACH: "unreachable",
    errno.EACCES: "denied",
    errno.EPERM: "denied",
    errno.ECONNRESET: "reset",
    errno.ETIMEDOUT: "timeout",
}


@dataclass(frozen=True, slots=True)
class Way:
    """How the socket differs from any other. ``mark`` needs root, 0 is none; ``source`` is
    bound to."""

    mark: int = 0
    device: str = ""
    source: Address | None = None


PLAIN = Way()


@dataclass(frozen=True, slots=True)
class Attempt:
    """``result``: connected, refused, timeout, unreachable, denied, reset, closed.

    ``greeting`` are the first bytes that came unasked, ``reply`` those that came to a request.
    """

    result: str
    peer: str = ""
    took_s: float = 0.0
    greeting: bytes = b""
    reply: bytes = b""
    detail: str = ""


def _open(kind: socket.SocketKind, address: Address, way: Way) -> socket.socket:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    opened = socket.socket(family, kind | socket.SOCK_CLOEXEC)
    try:
        if way.mark:
            opened.setsockopt(socket.SOL_SOCKET, SO_MARK, way.mark)
        if way.device:
            opened.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, way.device.encode() + b"\0")
        if way.source is not None:
            opened.bind((str(way.source), 0))
    except BaseException:
        opened.close()
        raise
    return opened


def has_route(address: Address) -> bool:
    """Whether this host knows a way there. Nothing is sent."""
    try:
        with _open(socket.SOCK_DGRAM, address, PLAIN) as opened:
            opened.connect((str(address), 9))
    except OSError as error:
        return error.errno not in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL)
    return True


def _failure(error: OSError, began_s: float) -> Attempt:
    is_late = isinstance(error, TimeoutError)
    result = "timeout" if is_late else _RESULTS.get(error.errno or 0, "failed")
    detail = "" if is_late else error.strerror or str(error)
    return Attempt(result, took_s=perf_counter() - began_s, detail=detail)


def connect(
    address: Address,
    port: int,
    request: bytes = b"",
    way: Way = PLAIN,
    timeout_s: float = CONNECT_S,
) -> Attempt:
    """Open one TCP connection, listen for a greeting, send ``request`` where one is given, and
    close it. Raises OSError only where such a socket may not be made."""
    with _open(socket.SOCK_STREAM, address, way) as opened:
        opened.settimeout(timeout_s)
        began_s = perf_counter()
        try:
            opened.connect((str(address), port))
        except OSError as error:
            return _failure(error, began_s)
        took_s = perf_counter() - began_s
        try:
            peer = str(opened.getpeername()[0])
            greeting, is_over = _recv(opened, GREETING_S)
            reply = b""
            if request and not is_over:
                opened.sendall(request)
                reply, is_over = _recv(opened, REPLY_S)
        except OSError as error:
            return Attempt("reset", took_s=took_s, detail=error.strerror or str(error))
    result = "closed" if is_over and not (greeting or reply) else "connected"
    return Attempt(result, peer, took_s, greeting, reply)


def _recv(opened: socket.socket, timeout_s: float) -> tuple[bytes, bool]:
    """What comes first within that time, and whether the other end has closed."""
    opened.settimeout(timeout_s)
    try:
        data = opened.recv(TOLD_BYTES)
    except TimeoutError:
        return b"", False
    return data, not data


def ask(
    server: Address, query: bytes, way: Way = PLAIN, timeout_s: float = 1.0
) -> tuple[bytes, float]:
    """Send one datagram to port 53, and give the answer and its time in seconds.

    Raises TimeoutError, or OSError (refused, unreachable, no such device).
    """
    with _open(socket.SOCK_DGRAM, server, way) as opened:
        opened.settimeout(timeout_s)
        began_s = perf_counter()
        opened.connect((str(server), 53))
        opened.send(query)
        while True:
            answer = opened.recv(4096)
            if answer[:2] == query[:2]:
                return answer, perf_counter() - began_s
