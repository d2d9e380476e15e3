"""Query packets become answer packets; scapy checks every header."""

from __future__ import annotations

import random
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

import pytest
from dnslib import DNSRecord
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment
from scapy.packet import Packet, Raw

from interceptor.dns import packet
from interceptor.dns.responder import Responder
from interceptor.mesh.answer import Answers

Query = Callable[..., bytes]
NAMES = st.sampled_from(
    ["reviews.bookinfo", "v4.bookinfo", "six.bookinfo", "many.bookinfo", "odd.x.wild.test",
     "reviews.bookinfo.corp.test", "v4.bookinfo.corp.test", "gone.own.test"]
)  # fmt: skip
SIZES = st.sampled_from([None, 512, 1232, 4096])
PORTS = st.integers(1, 65535)


def responder(answers: Answers) -> Responder:
    return Responder(answers, random.random, 4096)


def check(answer: bytes, asked: Packet) -> DNSRecord:
    """Every header right: ends swapped, lengths and checksums as scapy makes them."""
    kind = type(asked)
    got = kind(answer)
    assert (got.src, got.dst) == (asked.dst, asked.src)
    assert (got[UDP].sport, got[UDP].dport) == (53, asked[UDP].sport)
    assert got[UDP].chksum != 0
    again = got.copy()
    del again[UDP].chksum, again[UDP].len
    if kind is IP:
        del again.chksum, again.len
        assert (got.ttl, got.flags) == (64, "DF")
    else:
        del again.plen
        assert got.hlim == 64
    assert bytes(again) == answer
    return DNSRecord.parse(bytes(got[UDP].payload))


@given(st.ip_addresses(v=4), st.ip_addresses(v=4), PORTS, NAMES, SIZES, st.integers(0, 255))
def test_an_ipv4_query_becomes_its_answer(
    answers: Answers,
    query: Query,
    source: IPv4Address,
    server: IPv4Address,
    port: int,
    name: str,
    size: int | None,
    tos: int,
) -> None:
    message = query(name, "A", size)
    ends = IP(src=str(source), dst=str(server), tos=tos, id=7)
    asked = ends / UDP(sport=port, dport=53) / Raw(message)
    answer = packet.answer(bytes(asked), responder(answers))
    assert answer is not None
    assert check(answer, asked).header.id == int.from_bytes(message[:2], "big")


@given(st.ip_addresses(v=6), st.ip_addresses(v=6), PORTS, NAMES, SIZES)
def test_an_ipv6_query_becomes_its_answer(
    answers: Answers,
    query: Query,
    source: IPv6Address,
    server: IPv6Address,
    port: int,
    name: str,
    size: int | None,
) -> None:
    message = query(name, "AAAA", size)
    asked = IPv6(src=str(source), dst=str(server), fl=5) / UDP(sport=port, dport=53) / Raw(message)
    answer = packet.answer(bytes(asked), responder(answers))
    assert answer is not None
    check(answer, asked)


def test_the_second_answer_comes_from_the_cache_and_is_the_same(
    answers: Answers, query: Query
) -> None:
    ours = responder(answers)
    for message in (query("v4.bookinfo"), query("v4.bookinfo")):
        asked = IP(src="10.1.1.1", dst="10.1.1.2") / UDP(sport=4000, dport=53) / Raw(message)
        answer = packet.answer(bytes(asked), ours)
        assert answer is not None
        record = check(answer, asked)
        assert record.header.id == int.from_bytes(message[:2], "big")
        assert str(record.rr[0].rdata) == "10.0.0.1"
    assert len(ours.cache.ready) == 1


def test_packets_that_are_not_plain_queries_are_left_alone(answers: Answers, query: Query) -> None:
    mesh = Raw(query("v4.bookinfo"))
    v4, v6 = IP(src="10.1.1.1", dst="10.1.1.2"), IPv6(src="fd00::a", dst="fd00::b")
    port = UDP(sport=4000, dport=53)
    whole = bytes(v4 / port / mesh)
    assert packet.answer(whole, responder(answers))
    lying = bytes(v4 / UDP(sport=4000, dport=53, len=20) / mesh)
    for odd in (
        v4 / port / Raw(query("www.elsewhere.test")),
        v4 / UDP(sport=4000, dport=5353) / mesh,
        v4 / TCP(sport=4000, dport=53) / mesh,
        IP(src="10.1.1.1", dst="10.1.1.2", options=[IPOption_NOP()]) / port / mesh,
        IP(src="10.1.1.1", dst="10.1.1.2", flags="MF") / port / mesh,
        IP(src="10.1.1.1", dst="10.1.1.2", frag=1) / port / mesh,
        v6 / IPv6ExtHdrDestOpt() / port / mesh,
        v6 / IPv6ExtHdrFragment() / port / mesh,
        v6 / TCP(sport=4000, dport=53) / mesh,
        whole + b"\0",
        whole[:-1],
        lying,
    ):
        assert packet.answer(bytes(odd), responder(answers)) is None


@given(st.data())
def test_no_bytes_whatever_raise(answers: Answers, query: Query, data: st.DataObject) -> None:
    mesh = Raw(query("v4.bookinfo"))
    ends = data.draw(st.sampled_from([IP(dst="10.1.1.2"), IPv6(dst="fd00::b")]))
    raw = bytearray(bytes(ends / UDP(sport=4000, dport=53) / mesh))
    for _ in range(data.draw(st.integers(0, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(raw[: data.draw(st.integers(0, len(raw)))])
    answer = packet.answer(cut, responder(answers))
    assert answer is None or len(answer) > 40


@pytest.mark.parametrize("length", range(60))
def test_short_packets_are_left_alone(answers: Answers, length: int) -> None:
    for first in (b"\x45", b"\x60"):
        assert packet.answer((first + bytes(100))[:length], responder(answers)) is None


@given(st.binary(max_size=300), st.binary(min_size=2, max_size=2), st.integers(1, 65535))
def test_a_checksum_that_a_device_was_to_make_is_made(data: bytes, part: bytes, port: int) -> None:
    for family, at in (
        (IP(src="10.0.0.2", dst="10.9.0.1"), 26),
        (IPv6(src="fd00::2", dst="::1"), 46),
    ):
        whole = bytes(family / UDP(sport=port, dport=53) / Raw(data))
        assert packet.sealed(whole[:at] + part + whole[at + 2 :]) == whole


@given(st.binary(min_size=12, max_size=600), PORTS, st.booleans())
def test_a_reply_is_wrapped_as_if_the_server_had_sent_it(
    query: Query, reply: bytes, port: int, is_six: bool
) -> None:
    head = IPv6(src="fd00::2", dst="fd00::53") if is_six else IP(src="10.0.0.2", dst="10.0.0.53")
    message = query("a.zone.test")
    asked = head / UDP(sport=port, dport=53) / Raw(message)
    made = bytes(asked)
    assert packet.message(made) == message
    got = type(head)(packet.wrap(made, reply))
    assert bytes(got[UDP].payload) == reply
    assert (got.src, got.dst) == (asked.dst, asked.src)
    assert (got[UDP].sport, got[UDP].dport) == (53, port)
    again = got.copy()
    del again[UDP].chksum, again[UDP].len
    if not is_six:
        del again.chksum, again.len
    assert bytes(again) == bytes(got)


def test_only_a_plain_query_over_udp_has_a_message(query: Query) -> None:
    message = query("a.zone.test")
    for asked in (
        IP() / TCP(dport=53) / Raw(message),
        IP() / UDP(dport=54) / Raw(message),
        IP(options=[IPOption_NOP()]) / UDP(dport=53) / Raw(message),
        IP(flags="MF") / UDP(dport=53) / Raw(message),
        IPv6() / IPv6ExtHdrDestOpt() / UDP(dport=53) / Raw(message),
    ):
        assert packet.message(bytes(asked)) is None
        assert packet.message(bytes(asked)[:20]) is None
    assert packet.message(bytes(IP() / UDP(dport=53) / Raw(message))[:-1]) is None
