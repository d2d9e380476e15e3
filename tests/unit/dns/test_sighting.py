"""What is read of noted bytes, against the reference codec and scapy."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from dnslib import DNSRecord
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from interceptor.dns import sighting
from interceptor.dns.responder import Responder
from interceptor.dns.sighting import CHANGED
from interceptor.mesh.answer import Answers
from interceptor.mesh.outcome import Verdict

Query = Callable[..., bytes]
NS = "bookinfo.svc.cluster.local"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (f"reviews.{NS}", "A"),
        (f"reviews.{NS}", "AAAA"),
        (f"reviews.{NS}", "ANY"),
        ("reviews.bookinfo.corp.test", "A"),
        (f"ext.{NS}", "A"),
        (f"ext.{NS}", "CNAME"),
        (f"_sql._tcp.db.{NS}", "SRV"),
        ("1.0.0.10.in-addr.arpa", "PTR"),
        (f"reviews.{NS}", "TXT"),
        ("nobody.own.test", "A"),
    ],
)
def test_answers_read_as_the_reference_codec_reads_them(
    answers: Answers, query: Query, name: str, kind: str
) -> None:
    answer = Responder(answers, random.random, 65000).respond(query(name, kind))
    assert answer is not None
    told = [str(record.rdata).rstrip(".") for record in DNSRecord.parse(answer).rr]
    assert list(sighting.texts(answer)) == told


@given(st.binary(max_size=80))
def test_any_bytes_are_read_without_an_end_of_all(data: bytes) -> None:
    sighting.texts(data)
    sighting.texts(data[:12].ljust(12, b"\0") + b"\xc0\x0c" * 20)


@pytest.mark.parametrize(
    ("layer", "source", "destination"),
    [(IP, "10.0.0.5", "10.0.0.53"), (IPv6, "fd00::5", "fe80::53")],
)
def test_a_packet_s_ends_and_message_are_those_that_scapy_wrote(
    layer: type, source: str, destination: str
) -> None:
    packet = layer(src=source, dst=destination) / UDP(sport=4444, dport=53) / Raw(b"message")
    assert sighting.flow(bytes(packet)) == (source, 4444, destination, 53)
    assert sighting.message(bytes(packet)) == b"message"


def test_a_packet_without_ports_has_no_ends() -> None:
    assert sighting.flow(b"\x45" + bytes(20)) == sighting.NOBODY


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        (f"reviews.{NS}", Verdict.ANSWER),
        (f"six.{NS}", Verdict.NODATA),
        ("nobody.own.test", Verdict.NXDOMAIN),
    ],
)
def test_what_was_answered_counts_even_where_the_table_has_changed(
    answers: Answers, query: Query, name: str, verdict: Verdict
) -> None:
    answer = Responder(answers, random.random, 65000).respond(query(name))
    assert sighting.judge(answer, verdict, "why") == (verdict, "why")
    assert sighting.judge(answer, Verdict.PASS, "why") == (verdict, CHANGED)


def test_what_was_left_alone_counts_even_where_the_table_has_changed() -> None:
    assert sighting.judge(None, Verdict.PASS, "why") == (Verdict.PASS, "why")
    assert sighting.judge(None, Verdict.ANSWER, "why") == (Verdict.PASS, CHANGED)


def test_a_version_of_edns_that_nobody_speaks_is_no_answer(answers: Answers, query: Query) -> None:
    message = query(f"reviews.{NS}", size=1232, version=1)
    answer = Responder(answers, random.random, 65000).respond(message)
    verdict, why = sighting.judge(answer, Verdict.ANSWER, "why")
    assert (verdict, "BADVERS" in why) == (Verdict.NODATA, True)
