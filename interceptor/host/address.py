"""This host's IPv4 addresses and the links that bear them, by one netlink dump.

For processes that have to be lean: a library for all of netlink takes 13 MB.
linux/rtnetlink.h, linux/if_addr.h.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from struct import Struct

_HEAD = Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_ADDRESS = Struct("=BBBBI")  # struct ifaddrmsg: family, prefix length, flags, scope, index
_ATTRIBUTE = Struct("=HH")  # struct rtattr: length, type
_NEW_ADDRESS, _GET_ADDRESS, _ERROR, _DONE = 20, 22, 2, 3
_REQUEST_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_LOCAL = 2  # IFA_LOCAL
_BYTES = 1 << 16


def observe() -> frozenset[tuple[int, bytes]]:
    """(interface index, packed address) of each. OSError if the kernel does not tell."""
    request = _HEAD.pack(_HEAD.size + _ADDRESS.size, _GET_ADDRESS, _REQUEST_DUMP, 1, 0)
    request += _ADDRESS.pack(socket.AF_INET, 0, 0, 0, 0)
    found: set[tuple[int, bytes]] = set()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.settimeout(1)
        netlink.send(request)
        while not parse(netlink.recv(_BYTES), found):
            pass
    return frozenset(found)


def parse(data: bytes, found: set[tuple[int, bytes]]) -> bool:
    """Take what one datagram of the dump says. Whether it was the last."""
    at = 0
    while at + _HEAD.size <= len(data):
        size, kind, *_ = _HEAD.unpack_from(data, at)
        if kind in (_DONE, _ERROR) or size < _HEAD.size:
            return True
        if kind == _NEW_ADDRESS:
            index = _ADDRESS.unpack_from(data, at + _HEAD.size)[4]
            rows = _attributes(data[at + _HEAD.size + _ADDRESS.size : at + size])
            found.update((index, value) for number, value in rows if number == _LOCAL)
        at += (size + 3) // 4 * 4
    return False


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, at)
        if size < _ATTRIBUTE.size:
            return
        yield kind, data[at + _ATTRIBUTE.size : at + size]
        at += (size + 3) // 4 * 4
