"""Answers of DNS, read; dnslib is the oracle."""

from __future__ import annotations

import dnslib
import pytest
from dnslib import QTYPE, RR
from hypothesis import given, settings
from hypothesis import strategies as st

from interceptor.debug import dnsanswer
from interceptor.debug.dnsanswer import Lookup
from interceptor.mesh.outcome import AAAA, TXT, A

ZONE = """\
www.corp.example. 60 IN CNAME web.corp.example.
web.corp.example. 60 IN CNAME node.elsewhere.example.
node.elsewhere.example. 60 IN A 192.0.2.7
node.elsewhere.example. 60 IN A 192.0.2.8
"""


def answer(name: str, kind: str = "A", zone: str = "", rcode: int = 0) -> bytes:
    message = dnslib.DNSRecord.question(name, kind).reply()
    message.header.rcode = rcode
    message.add_answer(*RR.fromZone(zone))
    packed: bytes = message.pack()
    return packed


WHOLE = answer("www.corp.example", zone=ZONE)


def test_addresses_and_aliases_of_the_name_that_was_asked() -> None:
    found = dnsanswer.parse(answer("WWW.Corp.example", zone=ZONE))
    assert found is not None
    assert (found.name, found.qtype, found.rcode) == ("www.corp.example", A, 0)
    assert found.addresses == ("192.0.2.7", "192.0.2.8")
    assert found.aliases == ("web.corp.example", "node.elsewhere.example")


def test_ipv6_addresses_are_written_as_the_kernel_writes_them() -> None:
    found = dnsanswer.parse(answer("a.example", "AAAA", "a.example. 1 IN AAAA 2001:DB8:0::7"))
    assert found is not None
    assert found.addresses == ("2001:db8::7",)
    assert found.qtype == AAAA


@pytest.mark.parametrize("rcode", [0, 2, 3, 5])
def test_an_answer_without_records_tells_why(rcode: int) -> None:
    found = dnsanswer.parse(answer("a.example", rcode=rcode))
    assert found is not None
    assert (found.rcode, found.addresses) == (rcode, ())


def test_records_that_are_no_addresses_are_passed_over() -> None:
    zone = 'a.example. 1 IN TXT "text"\na.example. 1 IN A 192.0.2.1'
    found = dnsanswer.parse(answer("a.example", "TXT", zone))
    assert found is not None
    assert (found.qtype, found.addresses) == (TXT, ("192.0.2.1",))


def test_a_query_is_no_answer() -> None:
    assert dnsanswer.parse(dnslib.DNSRecord.question("a.example").pack()) is None


def test_what_was_captured_of_an_answer_counts() -> None:
    whole = answer("www.corp.example", zone=ZONE)
    found = dnsanswer.parse(whole[:-5])
    assert found is not None
    assert found.addresses == ("192.0.2.7",)


def test_a_label_with_a_dot_is_not_taken_for_two() -> None:
    message = bytearray(answer("aXb.example"))
    message[message.index(b"aXb") + 1] = ord(".")
    found = dnsanswer.parse(bytes(message))
    assert found is not None
    assert found.name == "a\\046b.example"


@pytest.mark.parametrize("tail", [b"\xc0\x0c", b"\xc0\xff", b"\x3f", b"\x80abc", b"\xc0"])
def test_names_that_are_none_are_no_answer(tail: bytes) -> None:
    head = answer("a.example")[:12]
    assert dnsanswer.parse(head + tail) is None


LABELS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=20)
NAMES = st.lists(LABELS, min_size=1, max_size=5).map(".".join)


@settings(max_examples=100, deadline=None)
@given(NAMES, st.lists(st.ip_addresses(v=4), max_size=20), st.lists(NAMES, max_size=3))
def test_every_answer_reads_as_dnslib_reads_it(
    name: str, addresses: list[object], chain: list[str]
) -> None:
    message = dnslib.DNSRecord.question(name, "A").reply()
    for owner, target in zip([name, *chain], chain, strict=False):
        message.add_answer(RR(owner, QTYPE.CNAME, rdata=dnslib.CNAME(target), ttl=1))
    for address in addresses:
        message.add_answer(RR(name, QTYPE.A, rdata=dnslib.A(str(address)), ttl=1))
    packed = message.pack()
    back = dnslib.DNSRecord.parse(packed)
    found = dnsanswer.parse(packed)
    assert found == Lookup(
        str(back.q.qname).rstrip("."),
        A,
        0,
        tuple(dict.fromkeys(str(r.rdata) for r in back.rr if r.rtype == QTYPE.A)),
        tuple(dict.fromkeys(str(r.rdata).rstrip(".") for r in back.rr if r.rtype == QTYPE.CNAME)),
        back.header.id,
    )


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80), st.integers(0, 80), st.integers(0, 255))
def test_nothing_that_arrives_raises(data: bytes, at: int, value: int) -> None:
    dnsanswer.parse(data)
    message = bytearray(WHOLE)
    message[at] = value
    dnsanswer.parse(bytes(message) + data)
