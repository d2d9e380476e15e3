"""Packets for the tests of views: as links show them, built by scapy."""

from __future__ import annotations

from ipaddress import ip_address

from dnslib import QTYPE, RR, A, DNSHeader, DNSQuestion, DNSRecord
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from interceptor.capture.plan import Facts, build
from interceptor.capture.span import Place
from interceptor.config import Config
from interceptor.config.tree import Capture, Inbound
from interceptor.debug import datagram
from interceptor.debug.datagram import Datagram
from interceptor.debug.judgement import Judgement
from interceptor.debug.pcaprecord import ETHERNET, Direction
from interceptor.debug.sighting import Sighting
from interceptor.debug.viewpoint import Role
from interceptor.mesh.answer import Answers
from interceptor.mesh.model import AppProtocol, Endpoint, Host, Kind, Locale, Port

OWN, SERVER, VIP, ENDPOINT = "10.0.0.9", "10.0.0.53", "10.96.0.11", "10.0.1.1"
TIME_NS = 1_700_000_000_000_000_000

REVIEWS = Host(
    "reviews.bookinfo.svc.cluster.local",
    "bookinfo",
    Kind.SERVICE,
    (ip_address(VIP),),
    (Port("http", 9080, AppProtocol.HTTP),),
    (Endpoint(ip_address(ENDPOINT)),),
)


def judgement() -> Judgement:
    """Of a mesh of one host, on a VM that serves port 3306 to it."""
    config = Config(capture=Capture(inbound=Inbound(ports=(3306,))))
    places: tuple[Place, ...] = (ip_address(VIP),)
    plan = build(config, Facts(own_addresses=(ip_address(OWN),)), places)
    answers = Answers.build((REVIEWS,), Locale("bookinfo", "cluster.local"))
    return Judgement(plan, (REVIEWS,), answers.resolve)


def sight(
    upper: Packet,
    source: str,
    destination: str,
    role: Role = Role.LOCAL,
    way: Direction = Direction.UNKNOWN,
) -> Sighting:
    head = (IPv6 if ":" in source else IP)(src=source, dst=destination)
    macs = "02:00:00:00:00:01", "02:00:00:00:00:02"
    data = bytes(Ether(src=macs[0], dst=macs[1]) / head / upper)
    found = datagram.parse(ETHERNET, data)
    assert isinstance(found, Datagram)
    device = "lo" if role is Role.LOCAL else "eth0"
    return Sighting(TIME_NS, device, role, ETHERNET, data, len(data), way, found)


def tcp(
    source: tuple[str, int], to: tuple[str, int], flags: str = "S", data: bytes = b""
) -> Packet:
    return TCP(sport=source[1], dport=to[1], flags=flags) / Raw(data)


def query(name: str, ident: int = 7, qtype: str = "A") -> DNSRecord:
    return DNSRecord(DNSHeader(id=ident, rd=1), q=DNSQuestion(name, getattr(QTYPE, qtype)))


def answer(asked: DNSRecord, address: str = "") -> DNSRecord:
    reply = asked.reply()
    if address:
        reply.add_answer(RR(asked.q.qname, QTYPE.A, rdata=A(address), ttl=30))
    return reply


def udp(source_port: int, port: int, message: DNSRecord) -> Packet:
    return UDP(sport=source_port, dport=port) / Raw(bytes(message.pack()))
