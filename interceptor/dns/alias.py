"""Aliases read back: which server a TCP/53 client meant (``host/layout.py``, Way).

In the kernel plane a client's connection goes to a loopback alias of its
server, so that the local end of the connection says which server that was.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from struct import Struct

from interceptor.host.bpfmap import BpfMap
from interceptor.host.layout import (
    ALIAS4_NETWORKS,
    ALIAS4_SLOTS,
    ALIAS6_NETWORK,
    Map,
    Way,
)

NETWORK4 = ALIAS4_NETWORKS[Way.DNS - 1]
NETWORK6 = IPv6Network((int(ALIAS6_NETWORK.network_address) | Way.DNS << 64, 64))
_SLOT4, _SLOT6 = Struct("=I"), Struct("=Q")


class Aliases:
    """The alias maps, which stay their owner's."""

    def __init__(self, maps: Mapping[Map, BpfMap]) -> None:
        self._maps = maps

    def find(self, host: str) -> str | None:
        """The destination that ``host`` is an alias of; None where it is no alias for DNS.

        ConnectionRefusedError for one that nobody made.
        """
        if ":" in host:
            return self._find6(IPv6Address(host.partition("%")[0]))
        return self._find4(IPv4Address(host))

    def _find4(self, address: IPv4Address) -> str | None:
        if address not in NETWORK4:
            return None
        slot = _SLOT4.pack(int(address) & ALIAS4_SLOTS)
        return _text(socket.AF_INET, self._maps[Map.ALIAS4].lookup(slot), address)

    def _find6(self, address: IPv6Address) -> str | None:
        if address.ipv4_mapped is not None:
            return self._find4(address.ipv4_mapped)
        if address not in NETWORK6:
            return None
        slot = _SLOT6.pack(int(address) & (1 << 64) - 1)
        return _text(socket.AF_INET6, self._maps[Map.ALIAS6].lookup(slot), address)


def _text(family: int, packed: bytes | None, alias: IPv4Address | IPv6Address) -> str:
    if packed is None:
        raise ConnectionRefusedError(f"{alias} is an alias of no destination")
    return socket.inet_ntop(family, packed)
