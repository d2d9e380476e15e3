"""dnslib makes the answers and reads the questions; a socket of the loopback gives them."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from dnslib import AAAA, CNAME, QTYPE, RCODE, RR, A, DNSHeader, DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from interceptor.host import dial, stub


def test_a_question_is_what_dnslib_reads() -> None:
    found = DNSRecord.parse(stub.encode("istiod.istio-system.svc", stub.AAAA, 4711))
    assert (found.header.id, found.header.rd, found.header.qr) == (4711, 1, 0)
    assert (str(found.q.qname), QTYPE[found.q.qtype]) == ("istiod.istio-system.svc.", "AAAA")


@pytest.mark.parametrize("name", ["a..b", "", "x" * 64 + ".test"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"no DNS name"):
        stub.encode(name, stub.A, 1)


def answer(*records: RR, rcode: str = "NOERROR") -> bytes:
    made = DNSRecord(DNSHeader(id=1, qr=1, rcode=getattr(RCODE, rcode)), rr=list(records))
    made.add_question(DNSRecord.question("a.test").q)
    data = bytes(made.pack())
    return data


def test_addresses_behind_a_cname_are_found_and_others_passed_over() -> None:
    data = answer(
        RR("a.test", QTYPE.CNAME, rdata=CNAME("b.test")),
        RR("b.test", QTYPE.A, rdata=A("192.0.2.1")),
        RR("b.test", QTYPE.AAAA, rdata=AAAA("2001:db8::1")),
    )
    assert stub.decode(data, stub.A) == ["192.0.2.1"]
    assert stub.decode(data, stub.AAAA) == ["2001:db8::1"]


def test_no_such_name_is_an_answer_and_a_failure_is_none() -> None:
    assert stub.decode(answer(rcode="NXDOMAIN"), stub.A) == []
    with pytest.raises(ValueError, match="flags"):
        stub.decode(answer(rcode="SERVFAIL"), stub.A)
    with pytest.raises(ValueError, match="flags"):
        stub.decode(stub.encode("a.test", stub.A, 1), stub.A)


@given(st.binary(max_size=80))
def test_random_bytes_are_an_answer_or_refused(data: bytes) -> None:
    for kind in (stub.A, stub.AAAA):
        try:
            stub.decode(data, kind)
        except ValueError:
            continue


def test_the_next_server_is_asked_where_one_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def reply(server: object, query: bytes, way: dial.Way, timeout_s: float) -> tuple[bytes, float]:
        asked.append(f"{server} {way.mark} {timeout_s}")
        if str(server) == "192.0.2.53":
            raise TimeoutError
        question = DNSRecord.parse(query)
        made = question.reply()
        if question.q.qtype == QTYPE.A:
            made.add_answer(RR("a.test", QTYPE.A, rdata=A("10.0.0.7")))
        return bytes(made.pack()), 0.001

    monkeypatch.setattr(dial, "ask", reply)
    servers = (ip_address("192.0.2.53"), ip_address("192.0.2.54"))
    assert stub.ask("a.test", servers, 7, 0.5) == ("10.0.0.7",)
    assert asked == ["192.0.2.53 7 0.5", "192.0.2.54 7 0.5"] * 2
