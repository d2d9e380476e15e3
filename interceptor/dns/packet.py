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

# version+IHL, TOS, length, id, fragment, TTL, protocol, checksum, source, destination,
# ports, UDP length, UDP checksum, DNS id
_IPV4 = Struct("!BBHHHBBHIIHHHHH")
# version+class+flow, length, next header, hop limit, source, destination, the same behind
_IPV6 = Struct("!IHBB16s16sHHHHH")
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
    fields = _IPV4.unpack_from(packet)
    _, _, size, _, fragment, _, protocol, _, source, destination = fields[:10]
    from_port, to_port, udp_size, _, message_id = fields[10:]
    if (
        to_port != DNS_PORT
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
    ends = source + destination
    ip_sum = 65535 - (ends + _IPV4_WORDS + udp_size + 20) % 65535
    words = ends + UDP + 2 * udp_size + from_port + DNS_PORT + message_id + total
    ip = (0x45, 0, udp_size + 20, 0, _DO_NOT_FRAGMENT, TTL, UDP, ip_sum, destination, source)
    udp = (DNS_PORT, from_port, udp_size, 65535 - words % 65535, message_id)
    return _IPV4.pack(*ip, *udp) + body


def _answer_ipv6(packet: bytes, responder: Responder) -> bytes | None:
    fields = _IPV6.unpack_from(packet)
    _, size, protocol, _, source, destination = fields[:6]
    from_port, to_port, udp_size, _, message_id = fields[6:]
    if to_port != DNS_PORT or protocol != UDP or size != len(packet) - 40 or udp_size != size:
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
    words = ends + UDP + 2 * udp_size + from_port + DNS_PORT + message_id + total
    ip = (6 << 28, udp_size, UDP, TTL, destination, source)
    udp = (DNS_PORT, from_port, udp_size, 65535 - words % 65535, message_id)
    return _IPV6.pack(*ip, *udp) + body


def _turned(found: Reply, responder: Responder) -> tuple[bytes, int]:
    """The message behind its id, turned at random, and the sum of its words."""
    body = found.turned(int(responder.random() * found.turns))
    return body, found.total if found.total >= 0 else checksum_words(body)
