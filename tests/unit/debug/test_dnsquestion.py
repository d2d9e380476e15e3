"""A query is made again from its answer, byte for byte but for what no answer tells."""

from __future__ import annotations

from dnslib import EDNS0, QTYPE, RR, A, DNSHeader, DNSQuestion, DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from interceptor.debug import dnsquestion
from interceptor.debug.dnsquestion import Question

ALPHABET = "abcdefghijklmnopqrstuvwxyzABCXYZ-_0123456789"
names = st.lists(st.text(ALPHABET, min_size=1, max_size=20), min_size=1, max_size=6)


def query(name: str, qtype: str, ident: int, *, edns: bool, cd: int = 0) -> DNSRecord:
    record = DNSRecord(DNSHeader(id=ident, rd=1, cd=cd), q=DNSQuestion(name, getattr(QTYPE, qtype)))
    if edns:
        record.add_ar(EDNS0(flags="do", udp_len=1232))
    return record


@given(
    names,
    st.sampled_from(["A", "AAAA", "SRV", "HTTPS"]),
    st.integers(0, 0xFFFF),
    st.booleans(),
    st.integers(0, 1),
)
def test_the_query_of_an_answer_is_the_one_that_was_sent(
    labels: list[str], qtype: str, ident: int, edns: bool, cd: int
) -> None:
    asked = query(".".join(labels), qtype, ident, edns=edns, cd=cd)
    sent = bytes(asked.pack())
    answer = asked.reply()
    answer.header.cd = cd
    answer.add_answer(RR(asked.q.qname, QTYPE.A, rdata=A("10.0.0.1"), ttl=30))
    if edns:
        answer.add_ar(EDNS0(flags="do", udp_len=1232))
    wire = bytes(answer.pack())
    question = dnsquestion.parse(wire)
    assert question is not None
    assert (question.ident, question.is_answer) == (ident, True)
    assert question.name == ".".join(labels).lower()
    assert dnsquestion.encode_query(wire, question) == sent


def test_a_question_is_told_from_an_answer() -> None:
    found = dnsquestion.parse(bytes(query("A.example", "A", 7, edns=False).pack()))
    assert found == Question(7, False, "a.example", 1, 12 + 11 + 4)


@given(st.binary(max_size=80))
def test_no_bytes_make_it_fail(data: bytes) -> None:
    for message in (data, b"\0\1\x81\x80\0\1\0\1\0\0\0\1" + data):
        question = dnsquestion.parse(message)
        if question is not None:
            assert dnsquestion.encode_query(message, question)[:2] == message[:2]


def test_other_opcodes_and_question_counts_are_none_of_ours() -> None:
    wire = bytearray(query("a.example", "A", 7, edns=False).pack())
    assert dnsquestion.parse(bytes(wire[:2]) + b"\x28" + bytes(wire[3:])) is None
    wire[5] = 2
    assert dnsquestion.parse(bytes(wire)) is None
