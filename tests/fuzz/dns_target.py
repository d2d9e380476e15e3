"""DNS as it comes from applications: messages, and packets as queues and programs give them."""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any

from dnslib import EDNS0, DNSRecord

from interceptor.dns import packet, wire
from interceptor.dns.handover import Handover
from interceptor.dns.nfqueue import Queue
from interceptor.dns.responder import TCP_LIMIT, Responder
from interceptor.host.layout import HANDOVER, Place
from interceptor.mesh.answer import Answers
from interceptor.mesh.model import AppProtocol, Endpoint, Host, Kind, Locale, Port
from tests.fuzz.target import Target

CEILING = 4096
NS = "bookinfo.svc.cluster.local"
V4 = tuple(ip_address("10.0.0.1") + n for n in range(40))
V6 = tuple(ip_address("fd00::1") + n for n in range(4))
NAMES = (
    *("reviews.bookinfo", f"MANY.{NS}", "db.bookinfo.svc", "ext.bookinfo", "a.b.wild.test"),
    *("_sql._tcp.db.bookinfo", "x.own.test", "1.0.0.10.in-addr.arpa", "www.other.test", "short"),
    *("reviews.bookinfo.corp.test", "none.bookinfo", "huge.bookinfo"),
)


@functools.cache
def answers() -> Answers:
    """A host of each kind."""
    hosts = [
        Host(f"reviews.{NS}", "bookinfo", Kind.SERVICE, (*V4[:3], *V6[:2]),
             (Port("http", 9080, AppProtocol.HTTP), Port("dns", 53, AppProtocol.UDP))),
        Host(f"many.{NS}", "bookinfo", Kind.SERVICE, (*V4, *V6)),
        Host(f"huge.{NS}", "bookinfo", Kind.SERVICE, tuple(V4[0] + n for n in range(400))),
        Host(f"db.{NS}", "bookinfo", Kind.HEADLESS, V4[:2], (Port("sql", 3306),),
             tuple(map(Endpoint, V4[:2]))),
        Host(f"none.{NS}", "bookinfo", Kind.HEADLESS),
        Host(f"ext.{NS}", "bookinfo", Kind.EXTERNAL_NAME, external_name="a.wild.test"),
        Host("*.wild.test", "x", Kind.SERVICE_ENTRY, V4[4:5]),
        Host("short", "x", Kind.SERVICE_ENTRY, V4[5:6]),
    ]  # fmt: skip
    return Answers.build(hosts, Locale("vm", search=("corp.test",), own_zones=("own.test",)))


@functools.cache
def responder(is_udp: bool) -> Responder:
    return Responder(answers(), lambda: 0.5, CEILING if is_udp else TCP_LIMIT, is_udp)


def question(name: str, kind: str = "A", size: int | None = None) -> bytes:
    made = DNSRecord.question(name, kind)
    made.header.id = 0x1234
    if size is not None:
        made.add_ar(EDNS0(udp_len=size, flags="do"))
    return bytes(made.pack())


def questions() -> Iterable[bytes]:
    for name in NAMES:
        for kind in ("A", "AAAA", "SRV", "PTR", "ANY", "HTTPS"):
            yield question(name, kind)
        yield question(name, "A", 1232)
        yield question(name, "ANY", 65535)


def room(message: bytes) -> int:
    """What DNS allows an answer over UDP: the size that an OPT record offers, else 512 (RFC 6891).
    By the reference codec, which is not ours."""
    offered = [int(rr.rclass) for rr in DNSRecord.parse(message).ar if rr.rtype == wire.TYPE_OPT]
    return min(max([wire.SMALLEST_UDP_SIZE, *offered]), CEILING)


def judge(message: bytes, response: bytes, limit: int) -> None:
    """That ``response`` is a well-formed answer to ``message`` and to nothing else."""
    asked, told = DNSRecord.parse(message), DNSRecord.parse(response)
    assert len(response) <= limit, "longer than DNS allows"
    assert response[:2] == message[:2], "another id"
    (_, flags, count), (_, told_flags, told_count) = (
        struct.unpack_from("!HHH", each) for each in (message, response)
    )
    assert not flags & wire.FLAG_QR, "a response was answered"
    assert not flags & 0x7800, "an opcode other than QUERY was answered"
    assert count == 1 == told_count
    assert told_flags & (wire.FLAG_QR | wire.FLAG_RA) == wire.FLAG_QR | wire.FLAG_RA
    end = len(DNSRecord(q=asked.q).pack())
    assert response[12:end] == message[12:end], "another question"
    assert told.q.qname == asked.q.qname
    assert {rr.rtype for rr in told.ar} <= {wire.TYPE_OPT}


def run_message(data: bytes) -> None:
    for is_udp in (True, False):
        one = responder(is_udp)
        first, second = one.respond(data), one.respond(data)
        assert (first is None) == (second is None), "the cache says something else"
        for response in (first, second):
            if response is not None:
                judge(data, response, room(data) if is_udp else TCP_LIMIT)
    wire.parse(data)


class Held:
    """A queued packet as the library gives it: it wants one verdict, and exactly one."""

    indev = 7

    def __init__(self, payload: bytes, hook: int) -> None:
        self.hook, self.payload = hook, payload
        self.verdicts: list[str] = []

    def get_payload(self) -> bytes:
        return self.payload

    def set_payload(self, payload: bytes) -> None:
        self.payload = payload

    def set_mark(self, mark: int) -> None:
        del mark

    def accept(self) -> None:
        self.verdicts.append("accept")

    def drop(self) -> None:
        self.verdicts.append("drop")


class Record:
    """A ring of one record, and where its answer goes."""

    fd = -1

    def __init__(self, record: bytes) -> None:
        self.record = record
        self.sent: list[bytes] = []

    def read(self) -> Any:
        yield self.record

    def send(self, packet: bytes, interface: int) -> None:
        del interface
        self.sent.append(packet)

    send_by = send


def run_packet(data: bytes) -> None:
    """From the IP header on; the first byte says by which way it comes."""
    local, payload = responder(True), data[1:]
    answer = packet.answer(payload, local)
    if answer is not None:
        at = 28 if payload[0] >> 4 == 4 else 48
        judge(payload[at:], answer[at:], room(payload[at:]))
        ends = (payload[12:16], payload[16:20]) if at == 28 else (payload[8:24], payload[24:40])
        back = (answer[12:16], answer[16:20]) if at == 28 else (answer[8:24], answer[24:40])
        assert back == ends[::-1], "the answer goes elsewhere"
        assert answer[at - 8 : at - 4] == payload[at - 6 : at - 4] + payload[at - 8 : at - 6]
    sent: list[bytes] = []
    hook = data[0] % 5 if data else 3
    held = Held(payload, hook)
    queue = Queue(local, local, lambda: True, 0x1DC1, lambda each, _: sent.append(each))
    if payload:  # the kernel queues no packet without a header
        queue._on_packet(held)  # type: ignore[arg-type]
        assert len(held.verdicts) == 1, held.verdicts
        assert not [name for name in queue.counts if name.startswith("error")], queue.counts
        if held.verdicts == ["drop"]:
            assert len(sent) == 1, "taken from its sender and not answered"
        elif answer is None or hook == 0:
            assert held.payload == payload, "a packet that passes was changed"
    hand_over(payload)


def hand_over(payload: bytes) -> None:
    """What the program hands over is plain UDP over IPv4 or IPv6: the rest never comes."""
    if len(payload) < 48 or (payload[0] != 0x45 and payload[0] >> 4 != 6):
        return
    cut = payload[: HANDOVER.size - 16]
    record = Record(struct.pack("=IIII", len(cut), 2, Place.EGRESS, 0) + cut)
    taken = Handover(record, responder(True), responder(True), record)
    taken.take()
    assert len(record.sent) == 1, taken.counts


def packets() -> Iterable[bytes]:
    for number, message in enumerate(questions()):
        udp = struct.pack("!HHHH", 40000, 53, 8 + len(message), 0) + message
        ends = bytes([192, 0, 2, 1, 192, 0, 2, 53])
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0)
        yield bytes([number % 5]) + head + ends + udp
        six = bytes.fromhex("20010db8" + "00" * 11 + "01" + "20010db8" + "00" * 11 + "35")
        yield bytes([number % 5]) + struct.pack("!IHBB", 6 << 28, len(udp), 17, 64) + six + udp


PACKAGES = ("interceptor.dns", "interceptor.mesh")
TARGETS = {
    "message": Target(run_message, questions, PACKAGES),
    "packet": Target(run_packet, packets, PACKAGES),
}
