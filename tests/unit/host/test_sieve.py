"""The filter of packets, run by the kernel itself on a socket pair."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.dns import DNS, DNSQR, DNSRR
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet, Raw

from interceptor.host import sieve, sniffer


def kept(packet: bytes, quiet: tuple[int, ...] = ()) -> int:
    """How many bytes of a packet get through; 0: it does not."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with near, far:
        sniffer.attach(far, sieve.encode(sieve.build(quiet)))
        far.setblocking(False)
        # What a filter refuses, a Unix socket takes as well, and loses.
        try:
            near.send(packet)
        except PermissionError:
            return 0
        try:
            return len(far.recv(65536))
        except BlockingIOError:
            return 0


def tcp(data: bytes = b"", flags: str = "A", sport: int = 40000, dport: int = 8080) -> Packet:
    return TCP(sport=sport, dport=dport, flags=flags) / Raw(data)


def four(inner: Packet) -> bytes:
    return bytes(IP(src="192.0.2.1", dst="192.0.2.2") / inner)


def with_options(inner: Packet) -> bytes:
    return bytes(IP(src="192.0.2.1", dst="192.0.2.2", options=[b"\x01" * 4]) / inner)


def six(inner: Packet) -> bytes:
    return bytes(IPv6(src="2001:db8::1", dst="2001:db8::2") / inner)


FAMILIES = pytest.mark.parametrize("family", [four, with_options, six])
OPENINGS = {
    "http": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32),
    "mysql": b"\x4a\x00\x00\x00\x0a8.0.36\x00" + bytes(60),
    "postgres": struct.pack("!II", 40, 0x00030000) + b"user\0a\0\0",
    "postgres with tls": struct.pack("!II", 8, 80877103),
    "redis": b"*1\r\n$4\r\nPING\r\n",
    "mongo": struct.pack("<IIII", 60, 1, 0, 2013) + bytes(44),
    "smtp": b"220 mail.example ESMTP\r\n",
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
    "amqp": b"AMQP\x00\x00\x09\x01",
}
BULK = {
    "nothing": b"",
    "zeros": bytes(1400),
    "ones": b"\xff" * 1400,
    "text": b"the quick brown fox jumps over the lazy dog",
    "tls data": b"\x17\x03\x03\x05\x78" + b"\xaa" * 1400,
    "tls from the server": b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76" + bytes(100),
    "two bytes": b"GE",
    "a mysql query": b"\x09\x00\x00\x00\x03SELECT 1",
    "a line that begins with a star": b"* a list of things\r\n",
    "an answer of http": b"HTTP/1.1 200 OK\r\n\r\n",
}


@FAMILIES
@pytest.mark.parametrize("data", OPENINGS.values(), ids=OPENINGS)
def test_the_beginning_of_a_conversation_is_kept(family: object, data: bytes) -> None:
    packet = family(tcp(data, "PA"))  # type: ignore[operator]
    assert kept(packet) == len(packet)


@FAMILIES
@pytest.mark.parametrize("data", BULK.values(), ids=BULK)
def test_what_is_no_beginning_is_not_copied(family: object, data: bytes) -> None:
    assert kept(family(tcp(data, "PA"))) == 0  # type: ignore[operator]


@FAMILIES
@pytest.mark.parametrize("flags", ["S", "SA", "SEC"])
def test_both_sides_syns_are_kept(family: object, flags: str) -> None:
    packet = family(tcp(flags=flags))  # type: ignore[operator]
    assert kept(packet) == len(packet)


@FAMILIES
@pytest.mark.parametrize("flags", ["A", "FA", "R", "RA"])
def test_other_segments_without_data_are_not(family: object, flags: str) -> None:
    assert kept(family(tcp(flags=flags))) == 0  # type: ignore[operator]


@FAMILIES
def test_answers_of_dns_are_kept_and_queries_are_not(family: object) -> None:
    message = DNS(qr=1, qd=DNSQR(qname="a.example"), an=DNSRR(rrname="a.example", rdata="1.2.3.4"))
    answer = family(UDP(sport=53, dport=40000) / message)  # type: ignore[operator]
    assert kept(answer) == len(answer)
    assert kept(family(UDP(sport=40000, dport=53) / message)) == 0  # type: ignore[operator]
    by_tcp = family(tcp(b"\0\1" + bytes(message), "PA", 53))  # type: ignore[operator]
    assert kept(by_tcp) == len(by_tcp)


@FAMILIES
def test_of_quic_only_how_it_begins_is_kept_and_that_in_short(family: object) -> None:
    first = family(UDP(sport=40000, dport=443) / Raw(b"\xc3" + bytes(1199)))  # type: ignore[operator]
    assert kept(first) == sieve.SHORT
    assert kept(family(UDP(sport=40000, dport=443) / Raw(b"\x43" + bytes(99)))) == 0  # type: ignore[operator]
    assert kept(family(UDP(sport=443, dport=40000) / Raw(b"\xc3" + bytes(99)))) == 0  # type: ignore[operator]
    assert kept(family(UDP(sport=40000, dport=4433) / Raw(b"\xc3" + bytes(99)))) == 0  # type: ignore[operator]


def test_multicast_is_kept_in_short_and_other_datagrams_are_not() -> None:
    one = UDP(sport=5353, dport=5353) / Raw(bytes(900))
    assert kept(bytes(IP(dst="224.0.0.251") / one)) == sieve.SHORT
    assert kept(bytes(IPv6(dst="ff02::fb") / one)) == sieve.SHORT
    assert kept(four(one)) == kept(six(one)) == 0


def test_later_fragments_and_other_protocols_are_not_kept() -> None:
    assert kept(bytes(IP(frag=10) / Raw(OPENINGS["http"] * 4))) == 0
    assert kept(four(ICMP())) == 0
    assert kept(bytes.fromhex("0001080006040001") + bytes(20)) == 0, "ARP"


def test_data_of_a_quiet_port_is_left_out_in_both_directions_and_syns_are_not() -> None:
    data = OPENINGS["http"]
    quiet = (80, 8080)
    assert kept(four(tcp(data)), quiet) == 0
    assert kept(six(tcp(data, sport=8080, dport=40000)), quiet) == 0
    assert kept(four(tcp(data, dport=8081)), quiet) > 0
    assert kept(four(tcp(flags="S")), quiet) > 0


def test_as_many_quiet_ports_as_are_allowed_make_a_program_that_the_kernel_takes() -> None:
    ports = tuple(range(1000, 1200))
    assert kept(four(tcp(OPENINGS["http"], dport=1000)), ports) == 0
    assert kept(four(tcp(OPENINGS["http"], dport=1199)), ports) > 0, "more than there is room for"


def test_a_jump_backwards_or_too_far_is_refused() -> None:
    far: list[sieve.Line] = [sieve.Op(0x15, yes="end"), *([sieve.Op(sieve.RETURN)] * 300)]
    far += ["end", sieve.Op(sieve.RETURN)]
    with pytest.raises(ValueError, match="too far"):
        sieve.encode(far)
    with pytest.raises(KeyError):
        sieve.encode([sieve.Op(0x15, yes="nowhere")])


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=0, max_size=120))
def test_whatever_comes_is_judged(packet: bytes) -> None:
    assert kept(packet) in (0, len(packet)) or len(packet) > sieve.SHORT
