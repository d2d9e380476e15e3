"""IP and UDP around a DNS message: a query packet becomes its own answer.

Plain packets only: IPv4 options, fragments and IPv6 extension headers are left
alone. Header checksums are always written in full, for both families: packets
that go on to a container behind NAT are checked for real.
"""

from __future__ import annotations

from struct import Struct

from interceptor.dns.reply import Reply, checksum_words
from interceptor.dns.responder import Responder

DNS_PORT = 53
UDP = 17
TTL = 64
SHORTEST = 45  # IPv4 and UDP headers, and the shortest question
_DO_NOT_FRAGMENT = 0x4000
_MORE_OR_OFFSET = 0x3FFF

# What is read of a query: length, fragment, protocol, source, destination, ports, UDP length,
# DNS id; for IPv6 length, next header, source, destination, ports, UDP length, DNS id.
_READ4 = Struct("!xxHxxHxBxxIIHHHxxH")
_READ6 = Struct("!4xHBx16s16sHHHxxH")
# What is written: version to class, length, the rest up to the checksum, that, destination,
# source, ports, UDP length, UDP checksum, DNS id; for IPv6 likewise.
_WRITE4 = Struct("!HH6sHIIHHHHH")
_WRITE6 = Struct("!IHBB16s16sHHHHH")
_IPV4 = Struct("!HH6sH4s4s")
_IPV6 = Struct("!IHBB16s16s")
_MIDDLE4 = Struct("!HHBB").pack(0, _DO_NOT_FRAGMENT, TTL, UDP)
_IPV4_WORDS = 0x4500 + _DO_NOT_FRAGMENT + (TTL << 8 | UDP)


def answer(packet: bytes, responder: Responder) -> bytes | None:
    """The answer to a UDP/53 query ``packet`` (from its IP header on), or None."""
    version = packet[0] if len(packet) >= SHORTEST else 0
    if version == 0x45:
        return _answer_ipv4(packet, responder)
    if version >> 4 == 6 and len(packet) >= SHORTEST + 20:
        return _answer_ipv6(packet, responder)
    return None


def _answer_ipv4(packet: bytes, responder: Responder) -> bytes | None:
    size, fragment, protocol, source, target, port, to, udp_size, ident = _READ4.unpack_from(packet)
    if (
        to != DNS_PORT
        or protocol != UDP
        or fragment & _MORE_OR_OFFSET
        or size != len(packet)
        or udp_size != size - 20
    ):
        return None
    found = responder.cache.ready.get(packet[30:]) or responder.find(packet[28:])
    if found is None:
        return None
    responder.counts[found.label] += 1
    body, total = found.head, found.total
    if found.turns:
        body, total = _turned(found, responder)
    udp_size = len(body) + 10
    # Swapping the ends changes no sum; 32-bit halves need no folding modulo 65535.
    ends = source + target
    ip_sum = 65535 - (ends + _IPV4_WORDS + udp_size + 20) % 65535
    words = ends + UDP + 2 * udp_size + port + DNS_PORT + ident + total
    udp_sum = 65535 - words % 65535
    headers = _WRITE4.pack(
        0x4500,
        udp_size + 20,
        _MIDDLE4,
        ip_sum,
        target,
        source,
        DNS_PORT,
        port,
        udp_size,
        udp_sum,
        ident,
    )
    return headers + body


def _answer_ipv6(packet: bytes, responder: Responder) -> bytes | None:
    size, protocol, source, target, port, to, udp_size, ident = _READ6.unpack_from(packet)
    if to != DNS_PORT or protocol != UDP or size != len(packet) - 40 or udp_size != size:
        return None
    found = responder.cache.ready.get(packet[50:]) or responder.find(packet[48:])
    if found is None:
        return None
    responder.counts[found.label] += 1
    body, total = found.head, found.total
    if found.turns:
        body, total = _turned(found, responder)
    udp_size = len(body) + 10
    ends = int.from_bytes(packet[8:40], "big")
    words = ends + UDP + 2 * udp_size + port + DNS_PORT + ident + total
    udp_sum = 65535 - words % 65535
    headers = _WRITE6.pack(
        6 << 28, udp_size, UDP, TTL, target, source, DNS_PORT, port, udp_size, udp_sum, ident
    )
    return headers + body


def _turned(found: Reply, responder: Responder) -> tuple[bytes, int]:
    """The message behind its id, turned at random, and the sum of its words."""
    body = found.turned(int(responder.random() * found.turns))
    return body, found.total if found.total >= 0 else checksum_words(body)


def message(packet: bytes) -> bytes | None:
    """The DNS message of a packet that `answer` looks at; None of any other."""
    version = packet[0] if len(packet) >= SHORTEST else 0
    if version == 0x45:
        size, fragment, protocol, _, _, _, to, udp_size, _ = _READ4.unpack_from(packet)
        if fragment & _MORE_OR_OFFSET or size != len(packet):
            return None
        head = 28
    elif version >> 4 == 6 and len(packet) >= SHORTEST + 20:
        size, protocol, _, _, _, to, udp_size, _ = _READ6.unpack_from(packet)
        if size != len(packet) - 40:
            return None
        head = 48
    else:
        return None
    whole = to == DNS_PORT and protocol == UDP and udp_size == len(packet) - head + 8
    return packet[head:] if whole else None


def wrap(query: bytes, reply: bytes) -> bytes:
    """The packet that brings ``reply``, a DNS message, to whoever sent ``query``, a packet that
    `message` can read: from its server, as if that had answered. At most what UDP can bear."""
    size = len(reply) + 8
    ports = query[22:24] + query[20:22] if query[0] >> 4 == 4 else query[42:44] + query[40:42]
    udp = ports + size.to_bytes(2, "big") + b"\0\0" + reply
    if query[0] >> 4 == 4:
        head = _IPV4.pack(0x4500, size + 20, _MIDDLE4, 0, query[16:20], query[12:16])
        total = 65535 - checksum_words(head) % 65535
        head = head[:10] + total.to_bytes(2, "big") + head[12:]
    else:
        head = _IPV6.pack(6 << 28, size, UDP, TTL, query[24:40], query[8:24])
    return sealed(head + udp)


def sealed(packet: bytes) -> bytes:
    """A plain UDP packet with its checksum in full. One that was taken on its way out has
    only the pseudo header's part of it: the rest is left to the device."""
    at = 28 if packet[0] >> 4 == 4 else 48
    ends = packet[12:20] if at == 28 else packet[8:40]
    head, data = packet[at - 8 : at - 2], packet[at:]
    words = checksum_words(ends) + UDP + len(data) + 8
    words += checksum_words(head) + checksum_words(data)
    total = 65535 - words % 65535
    return packet[: at - 2] + total.to_bytes(2, "big") + data
