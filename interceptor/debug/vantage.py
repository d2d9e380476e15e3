"""Whose packet is it? What this VM sends itself, what arrives at it, and what is neither. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from interceptor.capture.plan import Hook
from interceptor.debug import viewpoint
from interceptor.debug.datagram import Datagram
from interceptor.debug.viewpoint import Role
from interceptor.host.layout import ALIAS4_NETWORKS, ALIAS6_NETWORK
from interceptor.mesh.model import Address

UPLINK = "uplink"
"""The link of a packet whose capture names none: no rule can mean it, but lo's cannot either."""

_LOOPBACK6 = bytes(15) + b"\1"
_ALIAS6 = ALIAS6_NETWORK.network_address.packed[:6]
_ALIASES4 = frozenset(
    (network.network_address.packed[0], network.network_address.packed[1] >> 6)
    for network in ALIAS4_NETWORKS
)

_viewpoint = lru_cache(256)(viewpoint.parse)


@dataclass(frozen=True, slots=True)
class Place:
    """Where rules meet a packet, and on which link. ``is_sidecars``: the capture knows that it
    is the sidecar's own. ``is_inner``: it is the second half of something captured, from rules
    or programs to the sidecar or to the DNS worker, and what the process dialled is not in it."""

    hook: Hook
    link: str
    is_sidecars: bool = False
    is_inner: bool = False


@dataclass(frozen=True, slots=True)
class Vantage:
    """What tells whose a packet is. ``own``: packed addresses of this VM besides loopback;
    ``bridges``: links behind which containers are. ``interface`` is the VM's link that a
    capture's packets passed, where the capture calls it otherwise (a hypervisor's tap);
    ``sidecar_ports`` are where captured connections end on loopback."""

    own: frozenset[bytes]
    bridges: frozenset[str] = frozenset()
    interface: str = ""
    sidecar_ports: frozenset[int] = frozenset()

    def place(self, packet: Datagram, interface: str) -> Place | None:
        """None where rules never meet the packet: it is another host's.

        ``interface`` is its name in the capture, which may be one of `interceptor capture`'s.
        """
        seen = _viewpoint(interface)
        link = self.interface or (interface if seen is None else seen.device) or UPLINK
        role = None if seen is None else seen.role
        is_sidecars = role in (Role.OUT, Role.IN)
        if self._is_here(packet.source):
            here = self._is_here(packet.destination)
            is_inner = role in (Role.SIDECAR, Role.AGENT) or self._is_redirected(packet)
            return Place(Hook.OUTPUT, "lo" if here else link, is_sidecars, is_inner)
        if packet.destination in self.own or link in self.bridges:
            is_inner = role in (Role.SIDECAR, Role.AGENT)
            return Place(Hook.PREROUTING, link, False, is_inner)
        return None

    def _is_redirected(self, packet: Datagram) -> bool:
        to = packet.destination
        if len(to) == 16 and to[:6] == _ALIAS6:
            return True
        is_alias = len(to) == 4 and to[0] == 127 and (to[0], to[1] >> 6) in _ALIASES4
        return is_alias or (packet.port in self.sidecar_ports and self._is_here(to))

    def _is_here(self, address: bytes) -> bool:
        if address in self.own:
            return True
        return address[0] == 127 if len(address) == 4 else address == _LOOPBACK6


def pack(addresses: Iterable[Address]) -> frozenset[bytes]:
    """Addresses as packets bear them."""
    return frozenset(address.packed for address in addresses)
