"""Decisions are told to whoever listens, and only then."""

from __future__ import annotations

import time
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest
from dnslib import DNSRecord

from interceptor.host.layout import DNS_RESULTS, EVENT, NAME_SIZE, Map, PolicyFlag, State
from interceptor.host.ringbuf import RingBuffer
from interceptor.mesh.answer import Answers
from interceptor.mesh.model import Host, Kind, Locale

pytestmark = pytest.mark.root

EVENT_DNS = 1


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
    answer, passed = (EVENT.unpack(record) for record in events.read())
    told, kind, result, uid, _, pid, qtype, port, server, name = answer
    assert before < told < time.monotonic_ns()
    assert (kind, DNS_RESULTS[result], uid, pid, qtype, port) == (EVENT_DNS, "answer", 0, 0, 1, 0)
    assert server == b"\0" * 10 + b"\xff\xff" + ip_address("192.0.2.53").packed
    assert name == b"\1A\4test\0\0\1\0\1".ljust(NAME_SIZE, b"\0"), "the message from its name on"
    assert (DNS_RESULTS[passed[2]], passed[6]) == ("pass", 65)
    assert passed[8] == ip_address("2001:db8::53").packed
    assert passed[9].startswith(b"\1b\4test\0")


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
    _, exempt, odd = (EVENT.unpack(record) for record in events.read())
    assert (DNS_RESULTS[exempt[2]], exempt[6]) == ("exempt", 0)
    assert exempt[9].startswith(b"\1b\4test\0")
    assert (DNS_RESULTS[odd[2]], odd[6], odd[8], odd[9]) == ("odd", 0, bytes(16), bytes(NAME_SIZE))
