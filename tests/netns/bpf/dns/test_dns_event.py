"""Decisions are told to whoever listens, and only then."""

from __future__ import annotations

import time
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest
from dnslib import DNSRecord

from interceptor.host import bpfevent
from interceptor.host.layout import EVENT, NAME_SIZE, EventKind, Map, PolicyFlag, State
from interceptor.host.ringbuf import RingBuffer
from interceptor.mesh.answer import Answers
from interceptor.mesh.model import Host, Kind, Locale

pytestmark = pytest.mark.root


@pytest.fixture
def events(dns: Any) -> Iterator[RingBuffer]:
    host = Host("a.test", "x", Kind.SERVICE, (ip_address("10.0.0.1"),))
    dns.publish(Answers.build([host], Locale("vm")))
    ring = RingBuffer(dns.kernel.maps[Map.EVENTS])
    yield ring
    ring.close()


def ask(dns: Any, name: str, kind: str = "A", family: int = 4) -> None:
    dns.ask(bytes(DNSRecord.question(name, kind).pack()), family)


def test_nothing_is_told_while_nobody_listens(dns: Any, events: RingBuffer) -> None:
    ask(dns, "a.test")
    dns.set_state(State.TRACE_NS, time.monotonic_ns() - 1)
    ask(dns, "a.test")
    assert list(events.read()) == []


def test_an_event_says_who_asked_whom_for_what_and_its_fate(dns: Any, events: RingBuffer) -> None:
    before = time.monotonic_ns()
    dns.set_state(State.TRACE_NS, before + 10**11)
    ask(dns, "A.test")
    ask(dns, "b.test", "HTTPS", 6)
    dns.run(b"\0" * 12 + b"\x08\0" + bytes(60))
    records = list(events.read())
    answer, passed = map(bpfevent.decode, records)
    assert before < answer.time_ns < time.monotonic_ns()
    assert (answer.kind, answer.result) == (EventKind.DNS, "answer")
    assert (answer.name, answer.qtype) == ("a.test", 1)
    assert (answer.uid, answer.pid, answer.comm) == (0, 0, "")
    assert (str(answer.address), answer.port) == ("192.0.2.53", 0)
    assert (str(answer.source), answer.source_port) == ("192.0.2.1", 40000)
    name = EVENT.unpack(records[0])[9]
    assert name == b"\1A\4test\0\0\1\0\1".ljust(NAME_SIZE, b"\0"), "from its name on"
    assert (passed.result, passed.name, passed.qtype) == ("pass", "b.test", 65)
    assert (str(passed.address), str(passed.source)) == ("2001:db8::53", "2001:db8::1")


def test_an_event_of_an_exempt_query_has_nothing_of_another_query(
    dns: Any, events: RingBuffer
) -> None:
    dns.set_state(State.TRACE_NS, time.monotonic_ns() + 10**11)
    ask(dns, "a.test")
    dns.set_policy(PolicyFlag(0))
    ask(dns, "b.test")
    dns.run(
        b"\0" * 12 + b"\x08\0" + b"\x45" + bytes(8) + b"\x11" + bytes(12) + b"\0\x35" + bytes(40)
    )
    _, exempt, odd = map(bpfevent.decode, events.read())
    assert (exempt.result, exempt.qtype, exempt.name) == ("exempt", 0, "b.test")
    assert (odd.result, odd.qtype, odd.address, odd.name) == ("odd", 0, None, "")
    assert (odd.source, odd.source_port) == (None, 0)
