"""Questions from bytes, records to bytes, with dnslib as the reference."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from dnslib import DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from interceptor.dns import wire
from interceptor.dns.wire import Odd, Question
from interceptor.mesh.outcome import Outcome, Verdict

Query = Callable[..., bytes]
LABELS = st.text("abcxyzABC019-_*", min_size=1, max_size=63)
NAMES = st.lists(LABELS, min_size=1, max_size=8).map(".".join).filter(lambda name: len(name) <= 253)


def plain(name: str) -> bytes:
    return struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + wire.plain_name(name) + b"\0\1\0\1"


@given(NAMES, st.integers(1, 65535), st.booleans())
def test_a_question_made_by_the_reference_codec_is_read(name: str, qtype: int, rd: bool) -> None:
    record = DNSRecord.question(name)
    record.q.qtype = qtype
    record.header.rd = int(rd)
    message = bytes(record.pack())
    question = wire.parse(message)
    assert question == Question(name.lower(), qtype, len(message), 0x0100 if rd else 0)


def test_edns_is_read_with_its_size_and_do(query: Query) -> None:
    question = wire.parse(query("a.test", size=4096, flags="do"))
    assert isinstance(question, Question)
    assert (question.udp_size, question.edns_version, question.do) == (4096, 0, True)


@pytest.mark.parametrize("size", [0, 100, 511])
def test_a_size_below_512_counts_as_512(query: Query, size: int) -> None:
    question = wire.parse(query("a.test", size=size))
    assert isinstance(question, Question)
    assert question.udp_size == 512


A = plain("a.test")
OPT = wire.opt(False)


def edited(at: int, value: bytes, message: bytes = A) -> bytes:
    return message[:at] + value + message[at + len(value) :]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"", Odd.SHORT),
        (A[:16], Odd.SHORT),
        (A[:-1], Odd.SHORT),
        (edited(2, b"\x81\x00"), Odd.NOT_A_QUERY),
        (edited(2, b"\x29\x00"), Odd.NOT_A_QUERY),
        (edited(2, b"\x03\x00"), Odd.NOT_A_QUERY),
        (edited(3, b"\x05"), Odd.NOT_A_QUERY),
        (edited(4, b"\0\0"), Odd.COUNTS),
        (edited(4, b"\0\2"), Odd.COUNTS),
        (edited(6, b"\0\1"), Odd.COUNTS),
        (edited(8, b"\0\1"), Odd.COUNTS),
        (edited(10, b"\0\2"), Odd.COUNTS),
        (edited(12, b"\xc0\x0c"), Odd.NAME),
        (edited(12, b"\x40"), Odd.NAME),
        (edited(12, b"\x80"), Odd.NAME),
        (edited(12, b"\x3f"), Odd.NAME),
        (A[:12] + b"\0\0\1\0\1" + b"xx", Odd.NAME),
        (plain(".".join(["a" * 63] * 4)), Odd.NAME),
        (A[:12] + b"\3a.b\4test\0\0\1\0\1", Odd.NAME),
        (A[:12] + b"\3\xe9xx\4test\0\0\1\0\1", Odd.NAME),
        (edited(len(A) - 2, b"\0\3"), Odd.CLASS),
        (edited(len(A) - 2, b"\0\xff"), Odd.CLASS),
        (A + b"\0", Odd.TRAILING),
        (edited(10, b"\0\1"), Odd.TRAILING),
        (edited(10, b"\0\1") + OPT + b"\0", Odd.TRAILING),
        (edited(10, b"\0\1") + OPT[:-1], Odd.TRAILING),
        (edited(10, b"\0\1") + b"\1" + OPT[1:], Odd.TRAILING),
        (edited(10, b"\0\1") + OPT[:2] + b"\xfa" + OPT[3:], Odd.TRAILING),
        (edited(10, b"\0\1") + OPT[:-1] + b"\4\0\x0a\0\1", Odd.TRAILING),
        (edited(10, b"\0\1") + OPT[:-1] + b"\3\0\x0a\0", Odd.TRAILING),
    ],
)  # fmt: skip
def test_an_odd_message_is_left_alone_for_its_reason(message: bytes, reason: Odd) -> None:
    assert wire.parse(message) is reason


def test_a_sound_option_is_no_reason() -> None:
    cookie = b"\0\x0a\0\x08" + bytes(8)
    message = edited(10, b"\0\1") + OPT[:-2] + len(cookie).to_bytes(2, "big") + cookie
    assert isinstance(wire.parse(message), Question)


@given(st.binary(max_size=600))
def test_no_bytes_whatever_raise(message: bytes) -> None:
    assert isinstance(wire.parse(message), Question | Odd)


@given(NAMES, NAMES, NAMES, st.integers(0, 86400))
def test_records_are_read_back_by_the_reference_codec(
    question: str, target: str, zone: str, ttl_s: int
) -> None:
    question, target, zone = question.lower(), target.lower(), zone.lower()
    outcome = Outcome(
        Verdict.NODATA, target, ((question, target),), srv=((80, target),), ptr=(zone,), zone=zone
    )
    body = wire.encode(question, outcome, ttl_s)
    header = struct.pack("!HHHHHH", 1, 0x8400, 1, len(body.fixed), 1, 0)
    name = wire.plain_name(question)
    message = header + name + b"\0\1\0\1" + b"".join(body.fixed) + body.authority
    record = wire.decode(message)
    assert [str(rr.rname) for rr in record.rr] == [f"{question}.", f"{target}.", f"{target}."]
    assert [str(record.rr[0].rdata), str(record.rr[2].rdata)] == [f"{target}.", f"{zone}."]
    assert str(record.rr[1].rdata) == f"0 100 80 {target}."
    assert str(record.auth[0].rname) == f"{zone}."
    assert record.auth[0].rdata.times[-1] == ttl_s
    assert {rr.ttl for rr in (*record.rr, *record.auth)} == {ttl_s}


@pytest.mark.parametrize("name", ["a..b", "x" * 64 + ".test", "bücher.test"])
def test_a_name_that_dns_cannot_bear_is_refused(name: str) -> None:
    with pytest.raises(ValueError):
        wire.plain_name(name)
