"""Sockets of the self-tests, and the ways in which a test ends early."""

from __future__ import annotations

import errno
import socket

LIMIT_S = 1.0
"""For one wait."""
NOT_HERE = (errno.EPROTONOSUPPORT, errno.ENOPROTOOPT, errno.EAFNOSUPPORT, errno.EINVAL)


class Wrong(Exception):
    """What was seen is not what should be."""


class Absent(Exception):
    """This host has not what the test is about."""


def open_socket(family: int, kind: int, protocol: int = 0) -> socket.socket:
    """A socket with a time limit. Raises Absent where the kernel has no such ones."""
    try:
        one = socket.socket(family, kind, protocol)
    except OSError as error:
        if error.errno in NOT_HERE:
            raise Absent(error.strerror or str(error)) from error
        raise
    one.settimeout(LIMIT_S)
    return one


def exactly(one: socket.socket, size: int) -> bytes:
    """So many bytes. Raises Wrong where there are fewer."""
    data = b""
    while len(data) < size:
        more = one.recv(size - len(data))
        if not more:
            raise Wrong("the connection was closed")
        data += more
    return data
