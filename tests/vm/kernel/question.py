"""Names of a small mesh, and packets that ask for them, whole as a device has them."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

from scapy.layers.dns import DNS, DNSQR, DNSRROPT
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from interceptor.host import layout

SHOP, BANK, ELSEWHERE = "Shop.Mesh.test", "Bank.Mesh.test", "elsewhere.test"
NAMES = {
    SHOP: ([IPv4Address("10.9.8.7")], [IPv6Address("fd00:9::7")]),
    BANK: (
        [IPv4Address("10.9.7.1") + n for n in range(layout.ADDRESSES)],
        [IPv6Address("fd00:9:7::1") + n for n in range(layout.ADDRESSES)],
    ),
}
"""One address of each family, and as many as the kernel answers with."""

TTL_S = 30
ASKED = (
    *((SHOP, "A"), (SHOP, "AAAA"), (BANK, "A"), (BANK, "AAAA")),
    *((SHOP, "TXT"), (ELSEWHERE, "A")),
)

MAC, GATEWAY = "02:00:00:00:00:01", "02:00:00:00:00:02"
ID = 4711


def entry(name: str) -> tuple[bytes, bytes]:
    """Key and value of a name, as layout.h describes them."""
    four, six = NAMES[name]
    labels = (label.encode().lower() for label in name.split("."))
    wire = b"".join(bytes([len(label)]) + label for label in labels)
    key = wire.ljust(layout.NAME_SIZE, b"\0")
    packed = (b"".join(address.packed for address in each) for each in (four, six))
    value = layout.NAME_VALUE.pack(0, len(four), len(six), 0, 0, *packed)[8:]
    digest = 0
    for (word,) in struct.iter_unpack("=Q", key + value):
        digest = (digest + word) * layout.HASH_FACTOR % 2**64
    return key, struct.pack("=Q", digest) + value


def message(name: str, kind: str) -> Packet:
    """A query; for BANK with EDNS, so that its answer is as long as it can get."""
    extra = [DNSRROPT(rclass=1232)] if name == BANK else []
    return DNS(id=ID, rd=1, qd=DNSQR(qname=name, qtype=kind), ar=extra)


def packet(program: str, name: str, kind: str) -> bytes:
    """AAAA over IPv6, others over IPv4, with the link-layer header that the program expects."""
    # BPF_PROG_TEST_RUN takes bytes 12 and 13 for the Ethernet type: of a packet without such
    # a header they are part of the source, which is chosen so that they say IPv4 or IPv6.
    ip: Packet = IP(src="8.0.0.9", dst="192.0.2.53")
    if kind == "AAAA":
        ip = IPv6(src="fd00:9:86dd::9", dst="fd00:9::53")
    whole = ip / UDP(sport=40000, dport=53) / message(name, kind)
    return bytes(whole if program == "dns_egress_l3" else Ether(src=MAC, dst=GATEWAY) / whole)


def decode(program: str, frame: bytes) -> Packet:
    if program != "dns_egress_l3":
        return Ether(frame)
    return IP(frame) if frame[0] >> 4 == 4 else IPv6(frame)


def with_checksums(program: str, packet: Packet) -> bytes:
    """The packet with its lengths and checksums worked out anew."""
    other = decode(program, bytes(packet))
    for layer, names in ((IP, ("len", "chksum")), (IPv6, ("plen",)), (UDP, ("len", "chksum"))):
        if layer in other:
            for name in names:
                delattr(other[layer], name)
    return bytes(other)
