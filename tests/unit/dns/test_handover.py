"""Handed-over queries: what is answered, what is sent on, and which way it goes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest
from scapy.layers.dns import DNS
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet, Raw

from interceptor.dns import handover
from interceptor.dns.handover import Handover
from interceptor.dns.note import Note, Noted
from interceptor.dns.responder import Responder
from interceptor.dns.wire import OWN_UDP_SIZE
from interceptor.host.layout import HANDOVER, Place
from interceptor.mesh.answer import Answers
from interceptor.mesh.model import Locale

Query = Callable[..., bytes]
MESH = "reviews.bookinfo.corp.test"


class Ring:
    fd = 7

    def __init__(self) -> None:
        self.records: list[bytes] = []

    def read(self) -> Iterator[bytes]:
        while self.records:
            yield self.records.pop(0)


class Sent:
    """A sender that writes down (way, packet, interface)."""

    def __init__(self) -> None:
        self.all: list[tuple[str, bytes, int]] = []
        self.fails = False

    def _note(self, way: str, packet: bytes, interface: int) -> None:
        if self.fails:
            raise PermissionError("a firewall")
        self.all.append((way, packet, interface))

    def send(self, packet: bytes, interface: int) -> None:
        self._note("send", packet, interface)

    def send_by(self, packet: bytes, interface: int) -> None:
        self._note("send by", packet, interface)


class Bench:
    def __init__(self, answers: Answers) -> None:
        self.ring, self.sent = Ring(), Sent()
        self.local = Responder(answers, random.random, 65000)
        bridged = Responder(answers, random.random, OWN_UDP_SIZE)
        self.handover = Handover(self.ring, self.local, bridged, self.sent)

    def hand(self, packet: bytes, place: Place = Place.EGRESS, interface: int = 3) -> None:
        self.ring.records.append(HANDOVER.pack(len(packet), interface, place, 0, packet))

    def take(self) -> list[tuple[str, bytes, int]]:
        self.handover.take()
        return self.sent.all


@pytest.fixture
def bench(answers: Answers) -> Bench:
    return Bench(answers)


def four(message: bytes) -> Packet:
    return IP(src="10.0.0.2", dst="10.0.0.53", id=7) / UDP(sport=4444, dport=53) / Raw(message)


def six(message: bytes) -> Packet:
    return IPv6(src="fd00::2", dst="fd00::53") / UDP(sport=4444, dport=53) / Raw(message)


@pytest.mark.parametrize(("family", "make"), [(IP, four), (IPv6, six)])
@pytest.mark.parametrize("place", Place)
def test_a_query_becomes_its_answer(
    bench: Bench, query: Query, family: type, make: Callable[[bytes], Packet], place: Place
) -> None:
    asked = make(query(MESH))
    bench.hand(bytes(asked), place)
    ((went, packet, interface),) = bench.take()
    assert (went, interface) == ("send", 3)
    answer = family(packet)
    assert (answer.src, answer.dst) == (asked.dst, asked.src)
    assert (answer[UDP].sport, answer[UDP].dport) == (53, 4444)
    kinds = [record.type for record in DNS(bytes(answer[UDP].payload)).an]
    assert kinds == [5, 1, 1]  # a CNAME and two addresses
    assert bench.handover.counts == {"handover": 1}
    assert sum(bench.local.counts.values()) == (place is not Place.BRIDGE)


@pytest.mark.parametrize(("family", "make"), [(IP, four), (IPv6, six)])
@pytest.mark.parametrize(
    ("place", "way"), [(Place.EGRESS, "send by"), (Place.LO, "send"), (Place.BRIDGE, "send")]
)
def test_a_name_that_is_nobody_s_any_more_is_sent_on_as_it_was(
    bench: Bench,
    query: Query,
    family: type,
    make: Callable[[bytes], Packet],
    place: Place,
    way: str,
) -> None:
    whole = bytes(make(query("www.other.test", size=1232)))
    at = 26 if family is IP else 46
    taken = whole[:at] + b"\x12\x34" + whole[at + 2 :]  # what a device would have made whole
    bench.hand(taken, place)
    assert bench.take() == [(way, whole, 3)]
    assert bench.handover.counts == {"handover": 1, "handover-returned": 1}


def test_the_kernels_padding_is_no_part_of_the_packet(bench: Bench, query: Query) -> None:
    packet = bytes(four(query(MESH)))
    bench.hand(packet)
    assert len(bench.ring.records[0]) > 1000
    assert bench.take()[0][0] == "send"


def test_a_container_gets_what_fits_its_link(bench: Bench, query: Query) -> None:
    bench.hand(bytes(four(query("many.bookinfo", size=4096))), Place.BRIDGE)
    bench.hand(bytes(four(query("many.bookinfo", size=4096))), Place.EGRESS)
    (_, bridged, _), (_, local, _) = bench.take()
    assert len(bridged) <= OWN_UDP_SIZE + 28 < len(local)


def test_what_cannot_be_sent_is_counted_and_ends_nothing(bench: Bench, query: Query) -> None:
    bench.hand(b"")
    bench.hand(bytes(four(query(MESH))))
    bench.sent.fails = True
    bench.take()
    assert bench.handover.counts["handover-PermissionError"] == 1
    bench.sent.fails = False
    bench.hand(bytes(four(query(MESH))))
    assert len(bench.take()) == 1


def test_no_turn_takes_more_than_its_share(bench: Bench, query: Query) -> None:
    for _ in range(handover.MOST + 5):
        bench.hand(bytes(four(query(MESH))))
    assert len(bench.take()) == handover.MOST
    assert len(bench.take()) == handover.MOST + 5


def test_while_somebody_traces_each_query_is_told_and_fares_the_same(
    bench: Bench, query: Query
) -> None:
    told: list[Noted] = []
    note = Note(told.append)
    bench.handover.watch(note)
    packets = [bytes(four(query(MESH))), bytes(four(query("www.other.test")))]
    for packet in packets:
        bench.hand(packet, Place.LO)
    assert [way for way, _, _ in bench.take()] == ["send", "send"]
    assert [(noted.plane, noted.query) for noted in told] == [
        ("handover", packet) for packet in packets
    ]
    assert [noted.answer is not None for noted in told] == [True, False]
    bench.handover.watch(None)
    bench.hand(packets[0])
    bench.take()
    assert len(told) == 2
    note.close()


def test_a_query_of_a_forward_zone_is_given_to_whoever_asks_its_servers(query: Query) -> None:
    zones = (("zone.test", ("192.0.2.53",)),)
    bench = Bench(Answers.build((), Locale(forward_zones=zones)))
    given: list[tuple[bytes, int]] = []
    bench.handover.forward = lambda packet, interface: given.append((packet, interface))
    ours, others = bytes(four(query("a.zone.test"))), bytes(six(query("a.other.test")))
    bench.hand(ours, interface=5)
    bench.hand(others)
    assert [way for way, _, _ in bench.take()] == ["send by"]
    assert given == [(ours, 5)]
    bench.hand(ours)  # asked again, from the cache
    bench.take()
    assert len(given) == 2
