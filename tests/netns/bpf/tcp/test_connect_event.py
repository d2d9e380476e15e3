"""Events: who called what, and what became of it, while somebody listens."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from interceptor.host import bpfevent, bpfmap
from interceptor.host.bpfevent import Record
from interceptor.host.layout import EventKind, Map, PolicyFlag, State
from interceptor.host.ringbuf import RingBuffer

pytestmark = pytest.mark.root


@pytest.fixture
def events(on: Any) -> Iterator[RingBuffer]:
    reader = RingBuffer(on.kernel.maps[Map.EVENTS])
    yield reader
    reader.close()


def listen(on: Any) -> None:
    on.state(State.TRACE_NS, time.monotonic_ns() + 10**10)


def told(events: RingBuffer) -> list[Record]:
    return [bpfevent.decode(record) for record in events.read()]


@pytest.mark.parametrize(
    ("destination", "result"),
    [("10.96.0.7", "outbound"), ("2001:2::7", "outbound"), ("10.50.0.1", "pass")],
)
def test_a_call_is_told_with_its_caller(on, client, events, destination, result) -> None:
    listen(on)
    before = time.monotonic_ns()

    def connect() -> str:
        with suppress(ConnectionRefusedError):
            client(destination, 8080)
        return Path("/proc/self/comm").read_text().strip()

    child = on.start(connect, uid=1000)
    comm = child.result()
    call, *others = told(events)
    assert before < call.time_ns < time.monotonic_ns()
    assert (call.kind, call.result) == (EventKind.CONNECT, result)
    assert (call.uid, call.pid, call.comm, call.port) == (1000, child.pid, comm, 8080)
    assert (call.address, call.source) == (ip_address(destination), None)
    assert call.cookie
    assert call.cgroup == on.cgroup.stat().st_ino
    assert len(others) == (result == "outbound"), "what is captured reaches the sidecar, too"


@pytest.mark.parametrize("destination", ["10.96.0.7", "2001:2::7"])
def test_what_reaches_the_sidecar_is_told_with_both_its_ends(
    on, client, events, destination
) -> None:
    listen(on)
    ends = on.run(client, destination, 8080)
    _, reached = told(events)
    assert (reached.kind, reached.result, reached.uid) == (EventKind.ALIAS, "outbound", None)
    assert (str(reached.address), reached.port) == (destination, 8080)
    assert [str(reached.source), reached.source_port] == ends["client_own"]


def test_a_call_that_nobody_takes_is_told_as_refused(on, client, events) -> None:
    on.kill(on.standins[0])
    listen(on)
    with pytest.raises(ConnectionRefusedError):
        on.run(client, "10.96.0.7", 8080)
    call, refused = told(events)
    assert (call.kind, call.result) == (EventKind.CONNECT, "outbound")
    assert (refused.kind, refused.result) == (EventKind.ALIAS, "refused")
    assert str(refused.address) == "10.96.0.7"


def test_an_arrival_is_told_and_is_nobodys(on, events) -> None:
    on.policy(PolicyFlag.IPV4 | PolicyFlag.INBOUND | PolicyFlag.INBOUND_ALL)
    listen(on)

    def call() -> tuple[str, int]:
        with socket.create_connection(("10.0.0.2", 8080), 2) as one:
            return one.getsockname()[:2]

    ends = on.peer.call(call)
    (found,) = told(events)
    assert (found.kind, found.result) == (EventKind.LOOKUP, "inbound")
    assert (found.uid, found.pid, found.comm) == (None, 0, "")
    assert (str(found.address), found.port) == ("10.0.0.2", 8080)
    assert (str(found.source), found.source_port) == ends


def test_nothing_is_told_when_nobody_listens(on, client, events) -> None:
    on.run(client, "10.96.0.7", 80)
    on.state(State.TRACE_NS, time.monotonic_ns() - 1)
    on.run(client, "10.96.0.7", 80)
    assert list(events.read()) == []


def test_a_full_buffer_loses_events_but_no_connection(on, client, events) -> None:
    listen(on)
    untold = bpfmap.read_state(on.kernel.maps[Map.STATE], State.UNTOLD)

    def many() -> int:
        for _ in range(1500):
            with socket.socket() as one:
                one.connect_ex(("10.50.0.1", 80))
        return 0

    on.run(many)
    assert on.run(client, "10.96.0.7", 80)["client_peer"][0] == "10.96.0.7"
    seen = len(list(events.read()))
    assert 800 < seen < 1500
    # The last call was captured, and would have been two.
    untold = bpfmap.read_state(on.kernel.maps[Map.STATE], State.UNTOLD) - untold
    assert seen + untold == 1502
