"""The self-tests' DNS against a whole codec."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address

import pytest
from dnslib import AAAA, EDNS0, QTYPE, RR, A, DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from interceptor.lab.selftest import wire

LABEL = st.text("abcXYZ019-", min_size=1, max_size=20)
NAME = st.lists(LABEL, min_size=1, max_size=5).map(".".join)


@given(
    NAME, st.sampled_from([wire.A, wire.AAAA]), st.integers(0, 65535), st.sampled_from([0, 1232])
)
def test_a_query_is_what_dnslib_reads(name: str, kind: int, number: int, size: int) -> None:
    read = DNSRecord.parse(wire.query(name, kind, number, size))
    assert str(read.q.qname) == f"{name}."
    assert (read.q.qtype, read.header.id, read.header.rd) == (kind, number, 1)
    assert [(each.rtype, each.edns_len, each.edns_do) for each in read.ar] == (
        [(QTYPE.OPT, size, 1)] if size else []
    )


def test_a_reply_that_dnslib_wrote_is_read() -> None:
    asked = DNSRecord.question("OnE.example", "A")
    reply = asked.reply()
    reply.add_answer(RR("OnE.example", QTYPE.A, rdata=A("10.0.0.1"), ttl=5))
    reply.add_answer(RR("OnE.example", QTYPE.AAAA, rdata=AAAA("2001:db8::1"), ttl=5))
    reply.add_ar(EDNS0(flags="do", udp_len=1400))
    seen = wire.parse(bytes(reply.pack()))
    assert seen.addresses == ("10.0.0.1", "2001:db8::1")
    assert (seen.udp_size, seen.wants_dnssec, seen.rcode) == (1400, True, 0)
    assert seen.question == wire.encode_name("OnE.example")


@pytest.mark.parametrize("text", ["192.0.2.7", "2001:db8::7"])
def test_an_answer_is_what_dnslib_reads(text: str) -> None:
    address = ip_address(text)
    kind = wire.A if address.version == 4 else wire.AAAA
    reply = DNSRecord.parse(wire.answer(wire.query("x.example", kind, 7), (address.packed,)))
    assert (reply.header.id, reply.header.qr) == (7, 1)
    assert str(reply.short()) == text


@given(st.binary(max_size=80))
def test_whatever_comes_is_a_reply_or_a_value_error(data: bytes) -> None:
    with suppress(ValueError):
        assert wire.parse(data).question


def test_a_query_is_no_reply() -> None:
    with pytest.raises(ValueError, match="no reply"):
        wire.parse(wire.query("x.example", wire.A))
