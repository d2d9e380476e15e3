"""What the probe's own words are, and how answers are told."""

from __future__ import annotations

from dataclasses import replace

import pytest
from dnslib import RR, A, DNSRecord

from interceptor import probing
from interceptor.debug.case import Connected
from interceptor.errors import InterceptorError
from interceptor.inquiry import Question
from tests.unit.debug import sick


def test_an_answer_is_told_with_its_addresses() -> None:
    question = DNSRecord.question("a.example")
    reply = question.reply()
    reply.add_answer(RR("a.example", rdata=A("192.0.2.7")))
    found = probing.decode("192.0.2.53", reply.pack(), 1.5)
    assert (found.rcode, found.answers, found.error) == ("NOERROR", ("192.0.2.7",), "")


def test_a_negative_answer_is_told_by_its_code() -> None:
    reply = DNSRecord.question("a.example").reply()
    reply.header.rcode = 3
    found = probing.decode("192.0.2.53", reply.pack(), 1.5)
    assert (found.rcode, found.answers) == ("NXDOMAIN", ())


def test_what_is_no_dns_is_an_error() -> None:
    assert probing.decode("192.0.2.53", b"\0\1", 1.5).error


@pytest.mark.parametrize(
    ("tried", "well"),
    [
        (Connected("x", "connected"), True),
        (Connected("x", "connected", reply="HTTP/1.1 404 Not Found"), True),
        (Connected("x", "connected", reply="HTTP/1.1 503 Service Unavailable"), False),
        (Connected("x", "closed"), False),
        (Connected("x", "timeout"), False),
    ],
)
def test_a_call_is_well_where_somebody_served(tried: Connected, well: bool) -> None:
    assert probing.is_well(tried) is well


def test_only_root_probes_as_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("os.getuid", lambda: 1000)
    made = replace(sick.case(), rule=None)
    with pytest.raises(InterceptorError, match="leave --uid"):
        probing.send(made, Question("tcp", made.asked.text, uid=1001))
