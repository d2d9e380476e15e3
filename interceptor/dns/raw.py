"""Whole IP packets whose source is not ours, sent from here.

An answer to this host itself goes to an address of this host, over loopback,
and belongs to the flow that its query began: neither rp_filter nor a firewall
that lets only known flows in has anything against it. To a socket that is
bound to a device it comes from the device that bears the address: that is what
the kernel notes for such a route.
"""

from __future__ import annotations

import socket
import struct

_IP_PKTINFO = 8  # linux/in.h; the socket module has it from Python 3.14 on
_IN_PKTINFO = struct.Struct("=iII")  # interface, preferred source, destination (ip(7))
_IN6_PKTINFO = struct.Struct("=16sI")  # source, interface (ipv6(7))


class RawSender:
    """IPv4 and IPv6, marked as the agent's. OSError where a packet is refused."""

    def __init__(self, mark: int) -> None:
        self._ipv4 = _raw(socket.AF_INET, mark)
        self._ipv6 = _raw(socket.AF_INET6, mark)

    def send(self, packet: bytes, interface: int) -> None:
        """As the routes say; ``interface``, the index of the link towards the receiver, counts
        for link-local addresses only."""
        if packet[0] >> 4 == 4 and self._ipv4 is not None:
            self._ipv4.sendto(packet, (socket.inet_ntop(socket.AF_INET, packet[16:20]), 0))
        elif self._ipv6 is not None:
            host = socket.inet_ntop(socket.AF_INET6, packet[24:40])
            scope = interface if host.startswith("fe80:") else 0
            self._ipv6.sendto(packet, (host, 0, 0, scope))

    def send_by(self, packet: bytes, interface: int) -> None:
        """By ``interface`` and no other."""
        if packet[0] >> 4 == 4 and self._ipv4 is not None:
            info = socket.IPPROTO_IP, _IP_PKTINFO, _IN_PKTINFO.pack(interface, 0, 0)
            there: tuple[str, int] = socket.inet_ntop(socket.AF_INET, packet[16:20]), 0
            self._ipv4.sendmsg([packet], [info], 0, there)
        elif self._ipv6 is not None:
            six = socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _IN6_PKTINFO.pack(b"", interface)
            host = socket.inet_ntop(socket.AF_INET6, packet[24:40])
            self._ipv6.sendmsg([packet], [six], 0, (host, 0, 0, interface))

    def close(self) -> None:
        for raw in (self._ipv4, self._ipv6):
            if raw is not None:
                raw.close()


def _raw(family: socket.AddressFamily, mark: int) -> socket.socket | None:
    """A raw socket that takes the IP header from us; None where the host lacks the family."""
    try:
        # IPPROTO_RAW implies IP_HDRINCL and IPV6_HDRINCL (raw(7)).
        raw = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_RAW)
    except OSError:
        return None
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
    return raw
