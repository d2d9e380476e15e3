"""Packets that no wire has carried, made from those that one has: with their checksums in full."""

from __future__ import annotations

from struct import Struct

from interceptor.debug.datagram import TCP, UDP, Datagram

End = tuple[bytes, int]
"""Packed address and port."""

_IPV4 = Struct("!BBHHHBBH4s4s")
_IPV6 = Struct("!IHBB16s16s")
_UDP = Struct("!HHHH")
_PORTS = Struct("!HH")
_TTL = 64
_CHECKSUM_AT = {TCP: 16, UDP: 6}


def ones(data: bytes) -> int:
    """What the Internet checksum adds up (RFC 1071), modulo 65535."""
    return int.from_bytes(data + b"\0" * (len(data) % 2), "big") % 65535


def encode_datagram(source: End, destination: End, payload: bytes) -> bytes:
    """A UDP packet from its IP header on. Both addresses are of one family."""
    size = _UDP.size + len(payload)
    udp = _UDP.pack(source[1], destination[1], size, 0) + payload
    ends = source[0] + destination[0]
    udp = udp[:6] + (65535 - ones(ends + _pseudo(UDP, size) + udp)).to_bytes(2, "big") + udp[8:]
    if len(source[0]) == 16:
        return _IPV6.pack(6 << 28, size, UDP, _TTL, source[0], destination[0]) + udp
    fields = (0x45, 0, 20 + size, 0, 0x4000, _TTL, UDP)
    head = _IPV4.pack(*fields, 0, source[0], destination[0])
    return _IPV4.pack(*fields, 65535 - ones(head), source[0], destination[0]) + udp


def readdress(packet: Datagram, source: End, destination: End) -> bytes:
    """The packet with other ends of the same family. A packet that was cut off when it was
    captured keeps its transport checksum, which cannot be known."""
    old = packet.packet
    at = 40 if old[0] >> 4 == 6 else (old[0] & 15) * 4
    ends = source[0] + destination[0]
    if at == 40:
        head = old[:8] + ends
    else:
        head = old[:10] + b"\0\0" + ends + old[20:at]
        head = head[:10] + (65535 - ones(head)).to_bytes(2, "big") + head[12:]
    body = _PORTS.pack(source[1], destination[1]) + old[at + 4 :]
    place = _CHECKSUM_AT[packet.protocol]
    if not packet.cut and len(body) >= place + 2:
        body = body[:place] + b"\0\0" + body[place + 2 :]
        total = 65535 - ones(ends + _pseudo(packet.protocol, len(body)) + body)
        body = body[:place] + total.to_bytes(2, "big") + body[place + 2 :]
    return head + body


def _pseudo(protocol: int, size: int) -> bytes:
    """The rest of the pseudo header, in the form that has the same sum for either family."""
    return size.to_bytes(4, "big") + protocol.to_bytes(4, "big")
