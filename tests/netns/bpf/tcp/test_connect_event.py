"""Events: who called what, and what became of it, while somebody listens."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

import pytest

from interceptor.host.layout import EVENT, TCP_RESULTS, Map, PolicyFlag, State, address_key
from interceptor.host.ringbuf import RingBuffer

pytestmark = pytest.mark.root

CONNECT, LOOKUP = 2, 3


@pytest.fixture
def events(on: Any) -> Iterator[RingBuffer]:
    reader = RingBuffer(on.kernel.maps[Map.EVENTS])
    yield reader
    reader.close()


def listen(on: Any) -> None:
    on.state(State.TRACE_NS, time.monotonic_ns() + 10**10)


@pytest.mark.parametrize(
    ("destination", "result"),
    [("10.96.0.7", "outbound"), ("2001:2::7", "outbound"), ("10.50.0.1", "pass")],
)
def test_a_call_is_told_with_its_caller(on, client, events, destination, result) -> None:
    listen(on)
    before = time.monotonic_ns()

    def connect() -> None:
        with suppress(ConnectionRefusedError):
            client(destination, 8080)

    child = on.start(connect, uid=1000)
    child.result()
    (record,) = events.read()
    time_ns, kind, what, uid, ifindex, pid, qtype, port, address, name = EVENT.unpack(record)
    assert before < time_ns < time.monotonic_ns()
    assert (kind, TCP_RESULTS[what]) == (CONNECT, result)
    assert (uid, pid, port) == (1000, child.pid, 8080)
    assert address == address_key(ip_address(destination))
    assert (ifindex, qtype, name.strip(b"\0")) == (0, 0, b"")


def test_an_arrival_is_told_and_is_nobodys(on, events) -> None:
    on.policy(PolicyFlag.IPV4 | PolicyFlag.INBOUND | PolicyFlag.INBOUND_ALL)
    listen(on)
    on.peer.call(lambda: socket.create_connection(("10.0.0.2", 8080), 2).close())
    (record,) = events.read()
    _, kind, what, uid, _, pid, _, port, address, _ = EVENT.unpack(record)
    assert (kind, TCP_RESULTS[what], uid, pid) == (LOOKUP, "inbound", 0xFFFFFFFF, 0)
    assert (port, address) == (8080, address_key(ip_address("10.0.0.2")))


def test_nothing_is_told_when_nobody_listens(on, client, events) -> None:
    on.run(client, "10.96.0.7", 80)
    on.state(State.TRACE_NS, time.monotonic_ns() - 1)
    on.run(client, "10.96.0.7", 80)
    assert list(events.read()) == []


def test_a_full_buffer_loses_events_but_no_connection(on, client, events) -> None:
    listen(on)

    def many() -> int:
        for _ in range(1500):
            with socket.socket() as one:
                one.connect_ex(("10.50.0.1", 80))
        return 0

    on.run(many)
    assert on.run(client, "10.96.0.7", 80)["client_peer"][0] == "10.96.0.7"
    assert 1000 < len(list(events.read())) < 1500
