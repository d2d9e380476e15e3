"""Ready replies: size, rotation, sums."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from dnslib import QTYPE, DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from interceptor.dns import reply, wire
from interceptor.dns.reply import Reply
from interceptor.dns.wire import Question
from interceptor.mesh.answer import Answers
from interceptor.mesh.outcome import Outcome, Verdict

Query = Callable[..., bytes]


def made(answers: Answers, message: bytes, limit: int) -> Reply:
    question = wire.parse(message)
    assert isinstance(question, Question)
    outcome = answers.decide(question.name, question.qtype)
    body = wire.encode(question.name, outcome, 30)
    return reply.build(message, question, body, limit, ("answer", "A"))


def parsed(message: bytes, ready: Reply, turn: int = 0) -> DNSRecord:
    return DNSRecord.parse(message[:2] + ready.turned(turn))


@given(st.binary(max_size=200))
def test_the_sum_is_that_of_sixteen_bit_words(data: bytes) -> None:
    padded = data + b"\0" * (len(data) % 2)
    total = sum(int.from_bytes(padded[at : at + 2], "big") for at in range(0, len(padded), 2))
    assert reply.checksum_words(data) == total % 65535


@pytest.mark.parametrize(
    "name", ["reviews.bookinfo", "many.bookinfo", "reviews.bookinfo.corp.test"]
)
@pytest.mark.parametrize("kind", ["A", "AAAA", "ANY"])
def test_turning_changes_neither_sum_nor_records(
    answers: Answers, query: Query, name: str, kind: str
) -> None:
    message = query(name, kind, 4096)
    ready = made(answers, message, 4096)
    wanted = sorted(str(rr) for rr in parsed(message, ready).rr)
    for turn in range(ready.turns):
        body = ready.turned(turn)
        assert reply.checksum_words(body) == ready.total
        assert sorted(str(rr) for rr in parsed(message, ready, turn).rr) == wanted


def test_every_address_comes_first_once(answers: Answers, query: Query) -> None:
    message = query("many.bookinfo", "A", 4096)
    ready = made(answers, message, 4096)
    firsts = {str(parsed(message, ready, turn).rr[0].rdata) for turn in range(ready.turns)}
    assert len(firsts) == ready.turns == 100


@pytest.mark.parametrize("size", [None, 512, 700, 1232])
@pytest.mark.parametrize("name", ["many.bookinfo", "many.bookinfo.corp.test"])
@pytest.mark.parametrize("kind", ["A", "ANY"])
def test_what_does_not_fit_is_cut_at_whole_records(
    answers: Answers, query: Query, size: int | None, name: str, kind: str
) -> None:
    message = query(name, kind, size)
    limit = size or 512
    ready = made(answers, message, limit)
    for turn in (0, 50, 99):
        body = message[:2] + ready.turned(turn)
        record = DNSRecord.parse(body)
        assert limit - 28 < len(body) <= limit
        assert record.header.tc == 1
        assert bytes(record.pack())[:12] == body[:12]
        shown = [rr for rr in record.rr if rr.rtype == QTYPE.A]
        assert len({str(rr.rdata) for rr in shown}) == len(shown) > 20
        assert record.header.a == len(record.rr)
    assert ready.total == -1


def test_a_chain_too_long_for_the_message_is_cut_in_its_order(query: Query) -> None:
    long = ".".join(["x" * 60] * 4)
    outcome_names = [f"{n}.{long}" for n in range(4)]
    outcome = Outcome(
        Verdict.ANSWER,
        outcome_names[-1],
        tuple(zip(["a.test", *outcome_names[:-1]], outcome_names, strict=True)),
        v4=b"\x0a\0\0\1",
    )
    message = query("a.test")
    question = wire.parse(message)
    assert isinstance(question, Question)
    body = wire.encode("a.test", outcome, 30)
    ready = reply.build(message, question, body, 300, ("answer", "A"))
    record = parsed(message, ready)
    assert record.header.tc == 1
    assert [str(rr.rname) for rr in record.rr] == ["a.test.", f"{outcome_names[0]}."]


@pytest.mark.parametrize("version", [1, 255])
def test_a_newer_edns_version_gets_badvers(answers: Answers, query: Query, version: int) -> None:
    message = query("reviews.bookinfo", size=1232, flags="do", version=version)
    record = parsed(message, made(answers, message, 512))
    (opt,) = record.ar
    assert (record.header.rcode, opt.ttl >> 24, opt.ttl >> 16 & 0xFF) == (0, 1, 0)
    assert not record.rr


def test_flags_are_ours_but_for_rd_and_cd(answers: Answers, query: Query) -> None:
    for flags, wanted in ((0x0000, 0x8480), (0x0100, 0x8580), (0x0170, 0x8590), (0x0420, 0x8480)):
        message = query("v4.bookinfo")
        message = message[:2] + flags.to_bytes(2, "big") + message[4:]
        ready = made(answers, message, 512)
        assert int.from_bytes(ready.turned(0)[:2], "big") == wanted
