"""This host's IPv4 addresses and the links that bear them (linux/rtnetlink.h, linux/if_addr.h)."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from struct import Struct

from interceptor.host import netlink

_ADDRESS = Struct("=BBBBI")  # struct ifaddrmsg: family, prefix length, flags, scope, index
_GET_ADDRESS = 22  # RTM_GETADDR
_LOCAL = 2  # IFA_LOCAL


def observe() -> frozenset[tuple[int, bytes]]:
    """(interface index, packed address) of each. OSError if the kernel does not tell."""
    asked = _ADDRESS.pack(socket.AF_INET, 0, 0, 0, 0)
    return parse(netlink.request(_GET_ADDRESS, netlink.NLM_F_DUMP, asked))


def parse(messages: Iterable[bytes]) -> frozenset[tuple[int, bytes]]:
    """What the messages of a dump say."""
    found = set()
    for message in messages:
        value = netlink.parse_attributes(message[_ADDRESS.size :]).get(_LOCAL)
        if value is not None:
            found.add((_ADDRESS.unpack_from(message)[4], value))
    return frozenset(found)
