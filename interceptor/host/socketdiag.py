"""What the kernel knows of a socket, asked by its two ends (linux/inet_diag.h).

The text of /proc/net/tcp has gaps while other connections come and go; this does not.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
import sys
from dataclasses import dataclass

from interceptor.host import netlink, nlattr

_NETLINK_SOCK_DIAG, _BY_FAMILY = 4, 20  # linux/netlink.h, linux/sock_diag.h
_ANY_STATE, _ANY_COOKIE = 0xFFFFFFFF, 0xFFFFFFFF
# struct inet_diag_msg: family, state, timer, retrans; inet_diag_sockid (its cookie last, in two
# halves, the lower first); expires, rqueue, wqueue, uid, inode.
_ANSWER = struct.Struct("=xBxx40xII12xII")
_MARK, _CGROUP = 15, 21  # INET_DIAG_MARK, INET_DIAG_CGROUP_ID
LISTEN = 10  # include/net/tcp_states.h, TCP_LISTEN
PROTOCOLS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP}
LIMIT_S = 1
ANYBODY = {4: ("0.0.0.0", 0), 6: ("::", 0)}

End = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Socket:
    """One socket. ``inode`` names it in /proc/PID/fd, 0 where no process holds it (not accepted
    yet, or closed); ``cgroup`` is the inode of its cgroup's folder, 0 where that is not told."""

    uid: int
    inode: int
    cookie: int = 0
    state: int = 0
    mark: int = 0
    cgroup: int = 0


def find(protocol: str, local: End, remote: End | None = None) -> Socket | None:
    """The socket of this network namespace with these ends; without a remote one, whoever
    listens there. Also where a TCP socket with both is missing it is the listener that is
    found: its ``state`` is LISTEN. None where there is none. Raises OSError."""
    with open_channel() as channel:
        return ask(channel, protocol, local, remote)


def open_channel() -> socket.socket:
    """To `ask` several times. The caller's to close."""
    channel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG)
    channel.settimeout(LIMIT_S)
    return channel


def ask(
    channel: socket.socket, protocol: str, local: End, remote: End | None = None
) -> Socket | None:
    """As `find`, over an open channel."""
    channel.send(encode(protocol, local, remote))
    return decode(channel.recv(4096))


def encode(protocol: str, local: End, remote: End | None) -> bytes:
    """The question after one socket."""
    address = ipaddress.ip_address(local[0])
    ends = [local, remote or ANYBODY[address.version]]
    if protocol == "udp":
        ends.reverse()  # net/ipv4/udp_diag.c: the other way round "for historical reasons"
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    body = struct.pack("=BBxxI", family, PROTOCOLS[protocol], _ANY_STATE)
    body += struct.pack("!HH", ends[0][1], ends[1][1])
    body += b"".join(ipaddress.ip_address(end[0]).packed.ljust(16, b"\0") for end in ends)
    body += struct.pack("=III", 0, _ANY_COOKIE, _ANY_COOKIE)
    return netlink.encode(_BY_FAMILY, body)


def decode(answer: bytes) -> Socket | None:
    """The kernel's answer. Raises OSError with its errno, but None for ENOENT."""
    if netlink.HEADER.unpack_from(answer)[1] == netlink.ERROR:
        code = -struct.unpack_from("=i", answer, netlink.HEADER.size)[0]
        if code == errno.ENOENT:
            return None
        raise OSError(code, os.strerror(code))
    state, low, high, uid, inode = _ANSWER.unpack_from(answer, netlink.HEADER.size)
    told = dict(nlattr.attributes(answer[netlink.HEADER.size + _ANSWER.size :]))
    mark = int.from_bytes(told.get(_MARK, b""), sys.byteorder)
    cgroup = int.from_bytes(told.get(_CGROUP, b""), sys.byteorder)
    return Socket(uid, inode, high << 32 | low, state, mark, cgroup)


def owner(local: End, remote: End) -> int | None:
    """The uid of the TCP socket with these ends in this network namespace; None where there is
    none. Raises OSError."""
    found = find("tcp", local, remote)
    return None if found is None else found.uid
