"""Each query and each connection is found once, however often and wherever it was seen."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from dnslib import QTYPE, RR, A, DNSRecord
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6

from interceptor.capture.plan import Hook
from interceptor.debug import attempt as finding
from interceptor.debug import vantage
from interceptor.debug.attempt import Finder, Sender
from interceptor.debug.pcaprecord import RAW, Record
from interceptor.debug.vantage import Vantage

OWN, SERVER, PEER = "192.0.2.10", "198.51.100.53", "203.0.113.7"
MESH = ip_address("240.240.0.7").packed
SECOND_NS = 1_000_000_000
VM = Vantage(vantage.pack([ip_address(OWN), ip_address("2001:db8::10")]))


def finder() -> Finder:
    return Finder(VM, lambda packed: packed == MESH)


def record(packet: Any, at_s: float = 0.0, interface: str = "eth0", comment: str = "") -> Record:
    data = bytes(packet)
    return Record(int(at_s * SECOND_NS), interface, RAW, data, len(data), comment)


def query(name: str, ident: int = 1, qtype: str = "A") -> bytes:
    made = DNSRecord.question(name, qtype)
    made.header.id = ident
    return bytes(made.pack())


def answer(message: bytes, address: str) -> bytes:
    made = DNSRecord.parse(message).reply()
    made.add_answer(RR(str(made.q.qname), QTYPE.A, rdata=A(address), ttl=9))
    return bytes(made.pack())


def asks(message: bytes, port: int = 4000) -> Any:
    return IP(src=OWN, dst=SERVER) / UDP(sport=port, dport=53) / message


def syn(destination: str = PEER, port: int = 80, sequence: int = 7, source_port: int = 5000) -> Any:
    ends = IP(src=OWN, dst=destination)
    return ends / TCP(sport=source_port, dport=port, flags="S", seq=sequence)


def test_a_query_and_a_connection_are_found() -> None:
    found = finder()
    found.take(record(asks(query("a.example")), 1.5))
    found.take(record(syn(), 2.0))
    one, two = found.found
    assert (one.number, one.time_ns, one.protocol, one.port) == (1, 1_500_000_000, "udp", 53)
    assert (one.message, one.is_query, one.hook) == (query("a.example"), True, Hook.OUTPUT)
    assert (two.number, two.protocol, two.destination, two.port) == (2, "tcp", ip_address(PEER), 80)
    assert not two.is_query


def test_the_rest_of_a_connection_is_not_told() -> None:
    found = finder()
    found.take(record(IP(src=PEER, dst=OWN) / TCP(sport=80, dport=5000, flags="SA")))
    found.take(record(IP(src=OWN, dst=PEER) / TCP(sport=5000, dport=80, flags="PA") / b"GET"))
    assert found.found == []
    assert found.left == {finding.BEHIND: 2}


@pytest.mark.parametrize("packet", [asks(query("a.example")), syn()], ids=["query", "connection"])
def test_the_same_packet_elsewhere_is_the_same_and_one_sent_again_is_counted(packet: Any) -> None:
    found = finder()
    found.take(record(packet, 1.0, "app"))
    found.take(record(packet, 1.0001, "uplink eth0"))
    found.take(record(packet, 6.0, "app"))
    found.take(record(packet, 6.0001, "uplink eth0"))
    assert len(found.found) == 1
    assert found.again == [1]


def test_a_port_used_again_is_another_connection() -> None:
    found = finder()
    found.take(record(syn(sequence=7), 1.0))
    found.take(record(syn(sequence=8), 1.0))
    assert len(found.found) == 2


def test_the_same_query_much_later_is_another_one() -> None:
    found = finder()
    found.take(record(asks(query("a.example")), 1.0))
    found.take(record(asks(query("a.example")), 60.0))
    assert (len(found.found), found.again) == (2, [0, 0])


def test_queries_over_tcp_are_found_in_the_stream_besides_their_connection() -> None:
    found = finder()
    one, two = query("a.example", 1), query("b.example", 2)
    data = b"".join(len(each).to_bytes(2, "big") + each for each in (one, two))
    found.take(record(syn(SERVER, 53)))
    ends = IP(src=OWN, dst=SERVER)
    for at, piece in ((0, data[:9]), (9, data[9:]), (0, data[:9])):
        found.take(record(ends / TCP(sport=5000, dport=53, flags="PA", seq=8 + at) / piece))
    assert [each.message for each in found.found] == [None, one, two]
    assert {each.protocol for each in found.found} == {"tcp"}


def test_a_query_that_was_cut_off_is_not_judged() -> None:
    found = finder()
    data = bytes(asks(query("a.example")))
    found.take(Record(0, "eth0", RAW, data[:-3], len(data)))
    assert found.found == []
    assert found.left == {finding.CUT_QUERY: 1}


def test_an_empty_datagram_to_port_53_is_a_query_all_the_same() -> None:
    found = finder()
    found.take(record(asks(b"")))
    assert found.found[0].is_query


def test_udp_is_told_where_a_mesh_host_is_called_and_once() -> None:
    found = finder()
    for destination in ("240.240.0.7", PEER, "240.240.0.7"):
        found.take(record(IP(src=OWN, dst=destination) / UDP(sport=9, dport=9) / b"x"))
    assert [str(each.destination) for each in found.found] == ["240.240.0.7"]


def test_packets_of_others_are_counted_with_who_began() -> None:
    found = finder()
    for _ in range(3):
        found.take(record(IP(src="203.0.113.1", dst=PEER) / UDP(dport=53) / query("a.example")))
    assert found.found == []
    assert found.left == {finding.NOT_OURS: 3}
    assert found.initiators.most_common(1) == [(ip_address("203.0.113.1").packed, 3)]


def test_a_connection_knows_the_query_that_its_address_came_from() -> None:
    found = finder()
    message = query("shop.example", 9)
    found.take(record(asks(message)))
    reply = IP(src=SERVER, dst=OWN) / UDP(sport=53, dport=4000) / answer(message, PEER)
    found.take(record(reply))
    found.take(record(syn()))
    found.take(record(syn("203.0.113.99", source_port=5001)))
    assert [each.asked for each in found.found] == [-1, 0, -1]


def test_a_response_that_nobody_asked_for_is_not_believed() -> None:
    found = finder()
    forged = answer(query("shop.example", 9), PEER)
    found.take(record(IP(src=SERVER, dst=OWN) / UDP(sport=53, dport=4000) / forged))
    found.take(record(syn()))
    assert found.found[0].asked == -1


def test_a_comment_may_tell_who_sent_it() -> None:
    found = finder()
    found.take(record(syn(), comment="outbound rule 7 uid 1000 gid 100 curl"))
    assert found.found[0].sender == Sender(1000, 100)


def test_where_our_own_capture_saw_it_tells_of_sidecar_and_agent() -> None:
    found = finder()
    found.take(record(syn(), interface="sidecar out eth0"))
    found.take(record(syn(SERVER, 53), comment="the agent's own: it relays a query"))
    assert [each.sender for each in found.found] == [
        Sender(is_sidecars=True),
        Sender(is_agents=True),
    ]


def test_a_query_over_tcp_is_its_connection_s_sender_s() -> None:
    found = finder()
    data = len(query("a.example")).to_bytes(2, "big") + query("a.example")
    found.take(record(syn(SERVER, 53), comment="dns rule 5; uid 1000"))
    segment = IP(src=OWN, dst=SERVER) / TCP(sport=5000, dport=53, flags="PA", seq=8) / data
    found.take(record(segment))
    assert [each.sender.uid for each in found.found] == [1000, 1000]


PACKETS = [
    *(asks(query(name, ident)) for name in ("a.example", "b.example") for ident in (1, 2)),
    *(syn(sequence=n, source_port=5000 + n) for n in range(3)),
    IPv6(src="2001:db8::10", dst="2001:db8::1") / TCP(dport=443, flags="S", seq=3),
]


@given(st.lists(st.tuples(st.sampled_from(range(len(PACKETS))), st.sampled_from(("a", "b", "c")))))
def test_as_many_attempts_are_found_as_there_are_different_packets(
    seen: list[tuple[int, str]],
) -> None:
    """In whatever order vantage points tell of them, within a moment."""
    found = finder()
    for number, (which, interface) in enumerate(seen):
        found.take(record(PACKETS[which], 1 + number * 1e-4, interface))
    assert len(found.found) == len({which for which, _ in seen})
    assert sum(found.again) == 0
