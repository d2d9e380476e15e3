"""What is said of a captured query is what the DNS worker does with that very packet."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from dnslib import DNSRecord
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP

from interceptor import config
from interceptor.capture.plan import Decision, Hook
from interceptor.capture.rule import Verdict
from interceptor.debug import datagram
from interceptor.debug.attempt import Attempt
from interceptor.debug.datagram import Datagram
from interceptor.dns import packet as packets
from interceptor.dns.responder import Responder
from interceptor.mesh.answer import Answers
from interceptor.mesh.model import Host, Kind, Locale
from interceptor.ruling import Ruling

LONG = ".".join("l" * 60 for _ in range(3))
HOSTS = (
    Host("a.mesh.example", "n", Kind.SERVICE_ENTRY, (ip_address("192.0.2.1"),)),
    Host("*.wild.example", "n", Kind.SERVICE_ENTRY, (ip_address("2001:db8::1"),)),
    Host(f"{LONG}.example", "n", Kind.SERVICE_ENTRY, (ip_address("192.0.2.3"),)),
    Host(
        "many.example",
        "n",
        Kind.SERVICE_ENTRY,
        tuple(ip_address("198.51.100.0") + n for n in range(90)),
    ),
)
LOCALE = Locale("n", search=("corp.example",), own_zones=("own.example",))
CAPTURED = Decision(Verdict.DNS, 5, "DNS to a captured server")


def answers() -> Answers:
    return Answers.build(HOSTS, LOCALE)


def asked(message: bytes, ip: IP | None = None) -> Attempt:
    packet = (ip or IP(src="192.0.2.10", dst="192.0.2.53")) / UDP(sport=4000, dport=53) / message
    found = datagram.parse(101, bytes(packet))
    assert isinstance(found, Datagram)
    return Attempt(
        *(1, 0, Hook.OUTPUT, "eth0", "udp", ip_address("192.0.2.10"), 4000),
        *(ip_address("192.0.2.53"), 53, message, found.packet, found.plain),
    )


def question(name: str, kind: str = "A") -> bytes:
    return bytes(DNSRecord.question(name, kind).pack())


def judge(backend: str = "auto") -> Ruling:
    return Ruling(config.parse(f"capture: {{backend: {backend}}}"), answers())


@pytest.mark.parametrize(
    ("name", "kind", "verdict", "data"),
    [
        ("a.mesh.example", "A", "answer", ("192.0.2.1",)),
        ("A.Mesh.Example", "A", "answer", ("192.0.2.1",)),
        ("a.mesh.example", "AAAA", "nodata", ()),
        ("a.mesh.example", "TXT", "nodata", ()),
        ("x.y.wild.example", "AAAA", "answer", ("2001:db8::1",)),
        ("a.mesh.example.corp.example", "A", "answer", ("a.mesh.example", "192.0.2.1")),
        ("none.own.example", "A", "nxdomain", ()),
        ("www.example", "A", "pass", ()),
        ("1.2.0.192.in-addr.arpa", "PTR", "answer", ("a.mesh.example",)),
    ],
)
def test_a_plain_query_has_the_mesh_s_answer(
    name: str, kind: str, verdict: str, data: tuple[str, ...]
) -> None:
    fate = judge().decide(asked(question(name, kind)), CAPTURED)
    assert (fate.verdict, fate.answers, fate.qtype) == (verdict, data, kind)
    assert fate.name == name.lower()


@given(st.binary(max_size=60))
def test_whatever_the_message_the_verdict_is_the_worker_s(message: bytes) -> None:
    attempt = asked(message)
    fate = judge().decide(attempt, CAPTURED)
    worker = Responder(answers(), lambda: 0.0, 65487)
    assert (fate.verdict == "pass") == (packets.answer(attempt.packet, worker) is None)


@given(
    st.sampled_from(("a.mesh.example", "z.wild.example", "other.example")),
    st.integers(2, 60),
    st.integers(0, 255),
)
def test_a_query_with_a_byte_changed_is_the_worker_s_too(name: str, at: int, byte: int) -> None:
    message = bytearray(question(name))
    message[at % len(message)] = byte
    attempt = asked(bytes(message))
    worker = Responder(answers(), lambda: 0.0, 65487)
    sent = packets.answer(attempt.packet, worker)
    fate = judge().decide(attempt, CAPTURED)
    if sent is None:
        assert fate.verdict == "pass"
        assert fate.why
    else:
        reply = DNSRecord.parse(sent[28:])
        data = {str(row.rdata).rstrip(".").lower() for row in reply.rr}
        assert fate.verdict != "pass"
        assert data == set(fate.answers)


def test_a_type_that_nobody_may_ask_for_is_asked_for_all_the_same() -> None:
    """Type 0 is reserved (RFC 6895 §3.1), and captures have everything."""
    message = bytearray(question("a.mesh.example"))
    message[-3] = 0
    fate = judge().decide(asked(bytes(message)), CAPTURED)
    assert (fate.verdict, fate.qtype) == ("nodata", "TYPE0")


def test_a_query_in_a_packet_with_options_is_left_alone() -> None:
    odd = IP(src="192.0.2.10", dst="192.0.2.53", options=b"\1\1\1\1")
    fate = judge().decide(asked(question("a.mesh.example"), odd), CAPTURED)
    assert (fate.verdict, fate.name) == ("pass", "a.mesh.example")
    assert "options" in fate.why


def test_a_long_name_passes_the_programs_only() -> None:
    message = question(f"{LONG}.example")
    assert judge("nftables").decide(asked(message), CAPTURED).verdict == "answer"
    fate = judge("ebpf").decide(asked(message), CAPTURED)
    assert (fate.verdict, "128 bytes" in fate.why) == ("pass", True)


def test_an_answer_that_does_not_fit_is_told_as_cut_short_over_udp_only() -> None:
    message = question("many.example")
    over_udp = judge().decide(asked(message), CAPTURED)
    over_tcp = judge().decide(replace(asked(message), protocol="tcp", packet=b""), CAPTURED)
    assert over_udp.why.endswith("(TC)")
    assert not over_tcp.why.endswith("(TC)")
    assert len(over_udp.answers) == len(over_tcp.answers) == 90


def test_another_version_of_edns_is_answered_by_badvers() -> None:
    message = bytearray(question("a.mesh.example"))
    message[11] = 1
    message += bytes((0, 0, 41, 4, 208, 0, 1, 0, 0, 0, 0))
    fate = judge().decide(asked(bytes(message)), CAPTURED)
    assert (fate.verdict, fate.rcode, fate.answers) == ("answer", "BADVERS", ())


def test_a_query_that_is_not_captured_keeps_the_rule_s_reason() -> None:
    decision = Decision(Verdict.PASS, 4, "excluded owner, by its user")
    fate = judge().decide(asked(question("a.mesh.example")), decision)
    assert (fate.verdict, fate.rule, fate.why) == ("pass", 4, "excluded owner, by its user")
    assert (fate.name, fate.to) == ("a.mesh.example", "192.0.2.53:53")
