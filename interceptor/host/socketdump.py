"""Every TCP and UDP socket of this network namespace, from the kernel (linux/inet_diag.h)."""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from interceptor.host import netlink, nlattr, socketdiag
from interceptor.host.socketdiag import End, Socket

_BY_FAMILY = 20  # linux/sock_diag.h
_CGROUP = 21  # INET_DIAG_CGROUP_ID
_REQUEST = struct.Struct("=BBxxI48x")  # family, protocol, states; struct inet_diag_sockid is empty
# struct inet_diag_msg, first the address family and the state, then inet_diag_sockid: ports,
# addresses, device; the rest from the cookie on.
_FAMILY, _PORTS = struct.Struct("=BB"), struct.Struct("!HH")
_REST = struct.Struct("=I8x12xII")
_PORTS_AT, _SOURCE_AT, _DESTINATION_AT, _REST_AT = 4, 8, 24, 40
ESTABLISHED, CLOSE, LISTEN = 1, 7, 10  # include/net/tcp_states.h; CLOSE: an unconnected UDP one
_BUFFER_BYTES = 1 << 17
_MAPPED = b"\0" * 10 + b"\xff\xff"


@dataclass(frozen=True, slots=True)
class Entry:
    """One socket. A wildcard's address is 0.0.0.0 or ::, an unconnected one's remote port 0;
    IPv4-mapped addresses are written as IPv4's. ``device`` is the index of the one it is bound
    to, 0 for none."""

    protocol: str
    local: End
    remote: End
    device: int
    socket: Socket

    @property
    def is_waiting(self) -> bool:
        """A listener, or a UDP socket that takes what anybody sends."""
        return self.socket.state in (LISTEN, CLOSE)


def observe(*states: int) -> Iterator[Entry]:
    """The sockets in these states, of both protocols and families. What cannot be asked of this
    kernel is none. Raises OSError."""
    wanted = sum(1 << state for state in states)
    with socketdiag.open_channel() as channel:
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        for protocol, number in socketdiag.PROTOCOLS.items():
            for family in (socket.AF_INET, socket.AF_INET6):
                body = _REQUEST.pack(family, number, wanted)
                channel.send(netlink.encode(_BY_FAMILY, body, netlink.DUMP))
                for message in _messages(channel):
                    yield decode(protocol, message)


def find(channel: socket.socket, protocol: str, local: End, remote: End) -> Entry | None:
    """The socket with these ends, over an open channel; None where there is none."""
    channel.send(socketdiag.encode(protocol, local, remote))
    for kind, body in nlattr.messages(channel.recv(_BUFFER_BYTES)):
        if kind == _BY_FAMILY:
            return decode(protocol, body)
    return None


def _messages(channel: socket.socket) -> Iterator[bytes]:
    """The bodies of one dump's messages. ENOENT: the kernel lacks the module."""
    while True:
        for kind, body in nlattr.messages(channel.recv(_BUFFER_BYTES)):
            if kind == netlink.DONE:
                return
            if kind == netlink.ERROR:
                code = -struct.unpack_from("=i", body)[0]
                if code == errno.ENOENT:
                    return
                raise OSError(code, os.strerror(code))
            yield body


def decode(protocol: str, body: bytes) -> Entry:
    """One struct inet_diag_msg with its attributes."""
    family, state = _FAMILY.unpack_from(body)
    ports = _PORTS.unpack_from(body, _PORTS_AT)
    device, uid, inode = _REST.unpack_from(body, _REST_AT)
    told = dict(nlattr.attributes(body[_REST_AT + _REST.size :]))
    group = int.from_bytes(told.get(_CGROUP, b""), sys.byteorder)
    return Entry(
        protocol,
        (_address(family, body[_SOURCE_AT : _SOURCE_AT + 16]), ports[0]),
        (_address(family, body[_DESTINATION_AT : _DESTINATION_AT + 16]), ports[1]),
        device,
        Socket(uid, inode, state=state, cgroup=group),
    )


def _address(family: int, packed: bytes) -> str:
    if family == socket.AF_INET:
        return socket.inet_ntop(socket.AF_INET, packed[:4])
    if packed.startswith(_MAPPED):
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return socket.inet_ntop(socket.AF_INET6, packed)
