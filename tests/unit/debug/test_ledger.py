"""Packets into calls: scapy makes the packets, a conversation at a time."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.dns import DNS, DNSQR, DNSRR
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet, Raw

from interceptor.debug import datagram, ledger
from interceptor.debug.datagram import Datagram
from interceptor.debug.ledger import Flow, Ledger, Way
from interceptor.debug.observed import Call, Visit
from tests.unit.debug.test_firstword import client_hello

US, PEER, SERVER = "192.0.2.1", "198.51.100.7", "192.0.2.53"
GREETING = b"\x4a\0\0\0\x0a8.0.36\0\x08\0\0\0" + bytes(50)
_numbers = itertools.count(1)


def read(source: str, destination: str, inner: Packet) -> Datagram:
    layer = IPv6 if ":" in source else IP
    found = datagram.parse(101, bytes(layer(src=source, dst=destination) / inner))
    assert isinstance(found, Datagram)
    return found


class Wire:
    """A ledger, and packets for it."""

    def __init__(self, *static: tuple[str, str]) -> None:
        self.ledger = Ledger({US, "2001:db8::1"}, static)

    def answer(self, name: str, *addresses: str, to: str = US) -> None:
        records = [DNSRR(rrname=name, type=28 if ":" in a else 1, rdata=a) for a in addresses]
        message = DNS(id=next(_numbers), qr=1, qd=DNSQR(qname=name), an=records)
        self.ledger.add(read(SERVER, to, UDP(sport=53, dport=999) / message), "eth0", False)

    def segment(
        self,
        client: str,
        server: str,
        port: int,
        flags: str = "S",
        data: bytes = b"",
        *,
        cport: int = 40000,
        seq: int = 0,
        leaves: bool | None = True,
        device: str = "eth0",
    ) -> Flow | None:
        tcp = TCP(sport=cport, dport=port, flags=flags, seq=seq or next(_numbers)) / Raw(data)
        return self.ledger.add(read(client, server, tcp), device, leaves)

    def back(self, server: str, client: str, port: int, data: bytes = b"") -> None:
        """From the server: its SYN, or what it says."""
        tcp = TCP(sport=port, dport=40000, flags="PA" if data else "SA") / Raw(data)
        self.ledger.add(read(server, client, tcp), "eth0", server == US)

    def calls(self) -> tuple[Call, ...]:
        return self.ledger.observation().calls


def test_a_call_bears_the_name_that_was_asked_before() -> None:
    wire = Wire()
    wire.answer("api.example", PEER)
    wire.segment(US, PEER, 8080)
    wire.back(PEER, US, 8080)
    wire.segment(US, PEER, 8080, "PA", b"GET / HTTP/1.1\r\nHost: api.example\r\n\r\n")
    assert wire.calls() == (
        Call(PEER, 8080, "tcp", "api.example", "dns", "http", count=1, answered=1),
    )


def test_ipv6_is_the_same() -> None:
    wire = Wire()
    wire.answer("six.example", "2001:db8::7")
    wire.segment("2001:db8::1", "2001:db8::7", 80)
    assert wire.calls() == (Call("2001:db8::7", 80, "tcp", "six.example", "dns", count=1),)


def test_of_several_names_the_one_that_the_client_says_counts() -> None:
    wire = Wire()
    wire.answer("a.example", PEER)
    wire.answer("b.example", PEER)
    for cport, name in ((1, "a.example"), (2, "b.example"), (3, "other.example")):
        wire.segment(US, PEER, 443, cport=cport)
        wire.segment(US, PEER, 443, "PA", client_hello(name), cport=cport)
    found = {(call.name, call.evidence, call.count, call.said) for call in wire.calls()}
    assert found == {("a.example", "dns", 1, ()), ("b.example", "dns", 2, ("other.example",))}


def test_without_a_question_the_name_is_that_of_the_handshake_or_of_etc_hosts() -> None:
    wire = Wire(("db", "198.51.100.8"))
    wire.segment(US, PEER, 443)
    wire.segment(US, PEER, 443, "PA", client_hello("sni.example"))
    wire.segment(US, "198.51.100.8", 5432)
    wire.segment(US, "198.51.100.9", 7777)
    assert [(c.name, c.evidence, c.protocol) for c in wire.calls()] == [
        ("", "", ""),
        ("db", "hosts", ""),
        ("sni.example", "sni", "tls"),
    ]


def test_a_name_that_was_asked_after_the_connection_counts_where_none_was_before() -> None:
    wire = Wire()
    wire.segment(US, PEER, 80)
    wire.answer("late.example", PEER)
    assert wire.calls()[0].name == "late.example"


def test_a_syn_sent_again_is_no_second_call_and_a_port_used_again_is() -> None:
    wire = Wire()
    for seq in (7, 7, 8):
        wire.segment(US, PEER, 80, seq=seq)
    (call,) = wire.calls()
    assert (call.count, call.answered) == (2, 0)


def test_the_server_speaks_first_and_so_it_is_its_protocol() -> None:
    wire = Wire()
    wire.segment(US, PEER, 13306)
    wire.back(PEER, US, 13306)
    wire.back(PEER, US, 13306, GREETING)
    assert wire.calls()[0].protocol == "mysql"


def test_a_connection_that_began_before_is_told_apart() -> None:
    wire = Wire()
    wire.segment(US, PEER, 80, "PA", b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
    (call,) = wire.calls()
    assert (call.count, call.before, call.name, call.evidence) == (0, 1, "a.example", "host")


def test_who_calls_this_vm_is_counted_by_port_and_peer() -> None:
    wire = Wire()
    for cport in (1, 2):
        wire.segment(PEER, US, 3306, cport=cport, leaves=False)
    wire.segment(PEER, US, 3306, cport=3, leaves=False)
    wire.segment("127.0.0.1", "127.0.0.1", 3306, leaves=False, device="lo")
    found = wire.ledger.observation()
    assert found.calls == ()
    assert found.visits == (Visit(3306, PEER, count=3), Visit(3306, "", count=1))


def test_a_capture_that_does_not_know_the_way_is_read_by_addresses() -> None:
    wire = Wire()
    wire.segment(US, PEER, 80, leaves=None)
    wire.segment(PEER, US, 22, leaves=None)
    found = wire.ledger.observation()
    assert [call.address for call in found.calls] == [PEER]
    assert [visit.port for visit in found.visits] == [22]


def test_connections_of_containers_are_counted_by_device_and_are_not_ours() -> None:
    wire = Wire()
    wire.segment("172.17.0.2", PEER, 80, seq=5, leaves=False, device="docker0")
    wire.segment(US, PEER, 80, seq=5, cport=61000, device="eth0")
    found = wire.ledger.observation()
    assert (found.calls, found.forwarded) == ((), (("docker0", 1),))


def test_an_address_that_the_vm_has_got_meanwhile_is_its_own() -> None:
    wire = Wire()
    wire.ledger.learn(["192.0.2.77"])
    wire.segment("192.0.2.77", PEER, 80)
    assert wire.calls()[0].count == 1


def test_a_published_port_of_a_container_is_a_visit_and_no_call_of_it() -> None:
    wire = Wire()
    wire.segment(PEER, US, 8080, seq=5, leaves=False)
    wire.segment(PEER, "172.17.0.2", 80, seq=5, leaves=True, device="docker0")
    found = wire.ledger.observation()
    assert found.forwarded == ()
    assert found.visits == (Visit(8080, PEER, count=1),)


def test_names_that_containers_ask_for_are_not_ours() -> None:
    wire = Wire()
    wire.answer("theirs.example", PEER, to="172.17.0.2")
    assert wire.ledger.observation().asked == ()


def test_dns_over_tcp_is_read_and_is_no_call() -> None:
    wire = Wire()
    wire.segment(US, SERVER, 53)
    message = bytes(DNS(id=1, qr=1, qd=DNSQR(qname="a.example"), an=DNSRR(rdata="198.51.100.7")))
    tcp = TCP(sport=53, dport=40000, flags="PA") / Raw(len(message).to_bytes(2, "big") + message)
    wire.ledger.add(read(SERVER, US, tcp), "eth0", False)
    assert wire.calls() == ()
    assert wire.ledger.asking.names(PEER) == ("a.example",)


@pytest.mark.parametrize(
    ("destination", "port", "protocol"), [(PEER, 443, "quic"), ("224.0.0.251", 5353, "multicast")]
)
def test_quic_and_multicast_are_told(destination: str, port: int, protocol: str) -> None:
    wire = Wire()
    for _ in range(3):
        udp = UDP(sport=5, dport=port) / Raw(b"\xc0" + bytes(40))
        wire.ledger.add(read(US, destination, udp), "eth0", True)
    (call,) = wire.calls()
    assert (call.transport, call.protocol, call.count) == ("udp", protocol, 1)


def test_a_new_call_is_given_back_so_that_its_owner_can_be_noted() -> None:
    wire = Wire()
    flow = wire.segment(US, PEER, 80)
    assert flow is not None
    assert flow.way is Way.OUT
    flow.owner = "cron.service"
    assert wire.segment(PEER, US, 80, leaves=False) is None
    assert wire.calls()[0].owners == (("cron.service", 1),)


def test_a_port_of_which_enough_was_heard_is_quiet_but_tls_never_is() -> None:
    wire = Wire()
    for _ in range(ledger.ENOUGH_WORDS):
        wire.segment(US, PEER, 80, "PA", b"GET / HTTP/1.1\r\n\r\n")
        wire.segment(US, PEER, 443, "PA", client_hello(None))
    assert wire.ledger.quiet == {80}


def test_what_is_beyond_the_bounds_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MOST_FLOWS", 2)
    monkeypatch.setattr(ledger, "MOST_ROWS", 3)
    wire = Wire()
    for port in range(80, 90):
        wire.segment(US, PEER, port)
    found = wire.ledger.observation()
    assert (len(found.calls), found.left_out) == (3, 7)


PACKETS = st.one_of(
    st.binary(max_size=120),
    st.builds(
        lambda head, data: head + data,
        st.sampled_from(
            [
                bytes(IP(src=US, dst=PEER) / TCP(sport=1, dport=80, flags="PA")),
                bytes(IP(src=PEER, dst=US) / TCP(sport=3306, dport=1, flags="PA")),
                bytes(IP(src=SERVER, dst=US) / UDP(sport=53, dport=1)),
                bytes(IPv6(src="2001:db8::1", dst="ff02::1") / UDP(sport=1, dport=5353)),
            ]
        ),
        st.one_of(st.binary(max_size=80), st.sampled_from([GREETING, b"GET / HTTP/1.1\r\n\r\n"])),
    ),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(PACKETS, st.sampled_from([True, False, None])), max_size=6))
def test_nothing_that_arrives_raises(packets: list[tuple[bytes, bool | None]]) -> None:
    one = Ledger({US})
    for data, leaves in packets:
        found = datagram.parse(101, data)
        if isinstance(found, Datagram):
            one.add(found, "eth0", leaves)
    one.observation()
