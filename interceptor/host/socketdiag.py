"""Whose a TCP connection is, asked of the kernel by its two ends (linux/inet_diag.h).

The text of /proc/net/tcp has gaps while other connections come and go; this does not.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct

from interceptor.host import netlink

_NETLINK_SOCK_DIAG, _BY_FAMILY = 4, 20  # linux/netlink.h, linux/sock_diag.h
_ANY_STATE, _ANY_COOKIE = 0xFFFFFFFF, 0xFFFFFFFF
# Behind the header: family to retrans, inet_diag_sockid, expires to wqueue.
_UID_AT = netlink.HEADER.size + 4 + 48 + 12
LIMIT_S = 1

End = tuple[str, int]


def owner(local: End, remote: End) -> int | None:
    """The uid of the socket with these ends in this network namespace; None where there is
    none. Raises OSError."""
    address = ipaddress.ip_address(local[0])
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    ends = struct.pack("!HH", local[1], remote[1])
    ends += address.packed.ljust(16, b"\0")
    ends += ipaddress.ip_address(remote[0]).packed.ljust(16, b"\0")
    body = struct.pack("=BBxxI", family, socket.IPPROTO_TCP, _ANY_STATE)
    body += ends + struct.pack("=III", 0, _ANY_COOKIE, _ANY_COOKIE)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as channel:
        channel.settimeout(LIMIT_S)
        channel.send(netlink.encode(_BY_FAMILY, body))
        answer = channel.recv(4096)
    if netlink.HEADER.unpack_from(answer)[1] == netlink.ERROR:
        code = -struct.unpack_from("=i", answer, netlink.HEADER.size)[0]
        if code == errno.ENOENT:
            return None
        raise OSError(code, os.strerror(code))
    return int(struct.unpack_from("=I", answer, _UID_AT)[0])
