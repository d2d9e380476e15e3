"""One captured packet down to its transport header: link layer, IP, then TCP or UDP. Pure.

What is no use to anybody who asks about queries and connections is told by one word, and
counted by whoever reads.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from struct import Struct

TCP, UDP = 6, 17

# LINKTYPE_ numbers as they stand in files (tcpdump.org/linktypes.html).
_NULL, _ETHERNET, _LOOP, _SLL, _SLL2 = 0, 1, 108, 113, 276
_RAW = frozenset((12, 14, 101, 228, 229))  # 12 and 14: RAW as some systems write it

_IPV4, _IPV6 = 0x0800, 0x86DD
_TAGS = frozenset((0x8100, 0x88A8, 0x9100))  # 802.1Q, 802.1ad, and its forerunner
_OUTGOING, _OTHERHOST = 4, 3  # linux/if_packet.h, PACKET_*

_PORTS = Struct("!HH")
_TCP = Struct("!HHIxxxxBB")  # ports, sequence number, offset of the data, flags

# Headers that may stand between IPv6's own and the transport's (RFC 8200 §4.1, RFC 4302).
_EXTENSIONS = frozenset((0, 43, 60, 135, 139, 140))
_FRAGMENT, _AUTHENTICATION = 44, 51

SYN, ACK, FIN, RST = 0x02, 0x10, 0x01, 0x04


class Skip(enum.Enum):
    """Why a packet tells nothing of a query or a connection."""

    LINK = "unknown link layer"
    NOT_IP = "not IP"
    OTHER = "neither TCP nor UDP"
    FRAGMENT = "a fragment behind the first"
    CUT = "cut off before its ports"
    ELSEWHERE = "for another host (promiscuous mode)"


@dataclass(slots=True)
class Datagram:
    """Addresses are packed, ``packet`` begins with IP's header and ends with what IP calls its
    end. ``plain`` is false with IPv4 options, IPv6 extension headers and fragments; ``cut``
    where the capture kept less than there was. ``leaves``: the link layer calls it outgoing.

    Not frozen, which would cost more than all the reading.
    """

    source: bytes
    destination: bytes
    protocol: int
    source_port: int
    port: int
    packet: bytes
    payload: bytes
    sequence: int = 0
    flags: int = 0
    plain: bool = True
    cut: bool = False
    leaves: bool = False

    @property
    def opens(self) -> bool:
        """Whether it is the first packet of a TCP connection (ECN's bits do not count)."""
        return self.protocol == TCP and self.flags & (SYN | ACK | FIN | RST) == SYN


def parse(link: int, data: bytes) -> Datagram | Skip:
    """``link`` is a LINKTYPE_. Whatever the bytes are, nothing is raised."""
    leaves = False
    if link == _ETHERNET:
        at, kind = 14, int.from_bytes(data[12:14], "big")
        while kind in _TAGS:
            kind, at = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
        if kind not in (_IPV4, _IPV6):
            return Skip.NOT_IP
    elif link in (_SLL, _SLL2):
        at, place, kind_at = (16, 1, 14) if link == _SLL else (20, 10, 0)
        sort = data[place] if len(data) > place else 0
        if sort == _OTHERHOST:
            return Skip.ELSEWHERE
        leaves = sort == _OUTGOING
        if int.from_bytes(data[kind_at : kind_at + 2], "big") not in (_IPV4, _IPV6):
            return Skip.NOT_IP
    elif link in (_NULL, _LOOP):
        at = 4
    elif link in _RAW:
        at = 0
    else:
        return Skip.LINK
    if len(data) <= at:
        return Skip.NOT_IP
    found = _ip(data[at:] if at else data)
    if leaves and isinstance(found, Datagram):
        found.leaves = True
    return found


def _ip(packet: bytes) -> Datagram | Skip:
    version = packet[0] >> 4
    if version == 4:
        return _ipv4(packet)
    return _ipv6(packet) if version == 6 else Skip.NOT_IP


def _ipv4(packet: bytes) -> Datagram | Skip:
    if len(packet) < 20:
        return Skip.CUT
    # 0: left to the device to fill in (segmentation offload).
    size = int.from_bytes(packet[2:4], "big") or len(packet)
    protocol, fragment = packet[9], int.from_bytes(packet[6:8], "big") & 0x3FFF
    if protocol not in (TCP, UDP):
        return Skip.OTHER
    if fragment & 0x1FFF:
        return Skip.FRAGMENT
    cut, packet = len(packet) < size, packet[:size]
    head = (packet[0] & 15) * 4
    plain = head == 20 and not fragment
    return _transport(packet, head, protocol, (packet[12:16], packet[16:20]), (plain, cut))


def _ipv6(packet: bytes) -> Datagram | Skip:
    if len(packet) < 40:
        return Skip.CUT
    size = int.from_bytes(packet[4:6], "big")
    size = 40 + size if size else len(packet)
    cut, packet = len(packet) < size, packet[:size]
    protocol, at, plain = packet[6], 40, True
    while protocol not in (TCP, UDP):
        plain = False
        if len(packet) < at + 8:
            return Skip.CUT if protocol in _EXTENSIONS else Skip.OTHER
        if protocol == _FRAGMENT:
            if int.from_bytes(packet[at + 2 : at + 4], "big") & 0xFFF8:
                return Skip.FRAGMENT
            length = 8
        elif protocol == _AUTHENTICATION:
            length = (packet[at + 1] + 2) * 4
        elif protocol in _EXTENSIONS:
            length = (packet[at + 1] + 1) * 8
        else:
            return Skip.OTHER
        protocol, at = packet[at], at + length
    return _transport(packet, at, protocol, (packet[8:24], packet[24:40]), (plain, cut))


def _transport(
    packet: bytes, at: int, protocol: int, ends: tuple[bytes, bytes], state: tuple[bool, bool]
) -> Datagram | Skip:
    """``state``: whether the packet is plain, whether it is cut off."""
    if len(packet) < at + (14 if protocol == TCP else 8):
        return Skip.CUT
    if protocol == UDP:
        source_port, port = _PORTS.unpack_from(packet, at)
        return Datagram(*ends, UDP, source_port, port, packet, packet[at + 8 :], 0, 0, *state)
    source_port, port, sequence, offset, flags = _TCP.unpack_from(packet, at)
    payload = packet[at + (offset >> 4) * 4 :]
    return Datagram(*ends, TCP, source_port, port, packet, payload, sequence, flags, *state)
