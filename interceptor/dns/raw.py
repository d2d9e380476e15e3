"""Whole IP packets whose source is not ours, sent from here.

An answer to this host itself goes to an address of this host, over loopback,
and belongs to the flow that its query began: neither rp_filter nor a firewall
that lets only known flows in has anything against it.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from time import monotonic

from interceptor.host import address

KNOWN_S = 1.0  # for how long an address is taken to be where it was
_IN_PKTINFO = struct.Struct("=iII")  # interface, preferred source, destination (ip(7))
_IP_PKTINFO = 8  # linux/in.h; the socket module has it from Python 3.14 on
_Addresses = Callable[[], frozenset[tuple[int, bytes]]]


class RawSender:
    """IPv4 and IPv6, marked as the agent's.

    ``observe`` gives (interface index, packed address) of this host's IPv4 addresses.
    """

    def __init__(self, mark: int, observe: _Addresses = address.observe) -> None:
        self._ipv4 = _raw(socket.AF_INET, mark)
        self._ipv6 = _raw(socket.AF_INET6, mark)
        self._observe = observe
        self._known: frozenset[tuple[int, bytes]] = frozenset()
        self._known_s = float("-inf")

    def send(self, packet: bytes, interface: int) -> None:
        """To a link-local address by ``interface``, an index; to others as the routes say.
        OSError if refused."""
        if packet[0] >> 4 == 4:
            self._send4(packet, 0)
        else:
            self._send6(packet, interface)

    def send_by(self, packet: bytes, interface: int) -> None:
        """By ``interface`` and no other."""
        if packet[0] >> 4 == 4:
            self._send4(packet, interface)
        elif self._ipv6 is not None:
            info = struct.pack("=16sI", b"", interface)
            there = socket.inet_ntop(socket.AF_INET6, packet[24:40]), 0, 0, interface
            control = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, info)
            self._ipv6.sendmsg([packet], [control], 0, there)

    def deliver(self, packet: bytes, interface: int) -> None:
        """To a socket of this host, as though it had arrived by ``interface``.

        Else one that is bound to its device would not be found. The kernel takes our word
        for IPv4 only where the address is that device's, and would send it out otherwise; for
        IPv6 it always takes the device of the address.
        """
        is_there = packet[0] >> 4 == 4 and self._bears(interface, packet[16:20])
        if is_there:
            self._send4(packet, interface)
        else:
            self.send(packet, interface)

    def close(self) -> None:
        for raw in (self._ipv4, self._ipv6):
            if raw is not None:
                raw.close()

    def _send4(self, packet: bytes, interface: int) -> None:
        if self._ipv4 is None:
            return
        there = socket.inet_ntop(socket.AF_INET, packet[16:20]), 0
        if not interface:
            self._ipv4.sendto(packet, there)
            return
        info = _IN_PKTINFO.pack(interface, 0, 0)
        self._ipv4.sendmsg([packet], [(socket.IPPROTO_IP, _IP_PKTINFO, info)], 0, there)

    def _send6(self, packet: bytes, interface: int) -> None:
        if self._ipv6 is None:
            return
        host = socket.inet_ntop(socket.AF_INET6, packet[24:40])
        self._ipv6.sendto(packet, (host, 0, 0, interface if host.startswith("fe80:") else 0))

    def _bears(self, interface: int, packed: bytes) -> bool:
        now_s = monotonic()
        if now_s - self._known_s > KNOWN_S:
            self._known, self._known_s = self._observe(), now_s
        return (interface, packed) in self._known


def _raw(family: socket.AddressFamily, mark: int) -> socket.socket | None:
    """A raw socket that takes the IP header from us; None where the host lacks the family."""
    try:
        # IPPROTO_RAW implies IP_HDRINCL and IPV6_HDRINCL (raw(7)).
        raw = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_RAW)
    except OSError:
        return None
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
    return raw
