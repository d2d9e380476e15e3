"""Live connections of the netfilter back ends: what is told is what the other end saw."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from interceptor.capture import backend, fact, joined, plan
from interceptor.capture.journal import Journal
from interceptor.config import Config
from interceptor.debug.event import Event
from interceptor.debug.flows import Flows
from interceptor.debug.judging import View
from interceptor.debug.netfilter import Netfilter
from interceptor.host.process import Finder
from tests.netns.world import _socket, connect

pytestmark = pytest.mark.root

CHOICES = {
    "nftables": backend.Choice("nftables", "nftables", "nft", True, True),
    "iptables-nft": backend.Choice("iptables", "iptables", "nft", True),
    "iptables-legacy": backend.Choice("iptables", "iptables", "legacy", False),
}
CAPTURE = {
    "outbound": {"cidrs": ["10.50.0.0/16"], "exclude_ports": [25]},
    "inbound": {"ports": "*"},
    "owners": {"exclude_uids": [1001]},
}
TPROXY = CAPTURE | {"inbound": {"ports": [80], "mode": "tproxy"}}


class Told:
    """A source that runs in the VM, and what it has told."""

    def __init__(self, world: Any, installed: plan.Plan) -> None:
        self.events: list[Event] = []
        self.sources: list[Netfilter] = []
        self._ready, self._stop = threading.Event(), threading.Event()
        view = View(lambda: installed, lambda *_: "", lambda _: "v0", lambda *_: None)

        async def listen() -> None:
            source = Netfilter(view, Finder(), Flows())
            await source.open(self.events.append)
            self.sources.append(source)
            self._ready.set()
            await asyncio.to_thread(self._stop.wait)
            await source.close()
            self._ready.set()

        world.vm.thread(lambda: asyncio.run(listen()))
        assert self._ready.wait(10)
        self._ready.clear()

    def of(self, port: int, wait_s: float = 3.0) -> Event:
        """The event of a connection to a port; they come in any order."""
        end_s = time.monotonic() + wait_s
        while time.monotonic() < end_s:
            for event in self.events:
                if event.port == port:
                    self.events.remove(event)
                    return event
            time.sleep(0.01)
        raise AssertionError(f"no event of port {port}: {self.events}")

    def close(self) -> None:
        self._stop.set()
        assert self._ready.wait(10)


@pytest.fixture(scope="module", params=CHOICES)
def back_end(request: pytest.FixtureRequest, world: Any) -> Iterator[Any]:
    chosen = joined.build(CHOICES[request.param], Journal())
    yield chosen
    world.vm.call(chosen.revert)


def install(world: Any, back_end: Any, capture: dict[str, Any]) -> plan.Plan:
    config = Config.model_validate({"capture": capture})
    built = plan.build(config, world.vm.call(fact.facts, config), [ip_address("10.60.0.1")])
    world.vm.call(back_end.apply, built)
    return built


@pytest.fixture
def told(world: Any, back_end: Any) -> Iterator[Told]:
    opened = Told(world, install(world, back_end, CAPTURE))
    yield opened
    opened.close()


CALLS = [
    # where, destination, port, owner, the other end's word, verdict, rule, to
    ("vm", "10.50.0.1", 8001, {}, "outbound 10.50.0.1", "outbound", 7, "127.0.0.1:15001"),
    ("vm", "10.60.0.1", 8002, {}, "outbound 10.60.0.1", "outbound", 7, "127.0.0.1:15001"),
    ("vm", "2001:2::7", 8003, {}, "outbound 2001:2::7", "outbound", 7, "[::1]:15001"),
    ("vm", "8.8.8.8", 8004, {}, "peer 8.8.8.8", "pass", 9, "8.8.8.8:8004"),
    ("vm", "10.50.0.1", 25, {}, "peer 10.50.0.1", "pass", 6, "10.50.0.1:25"),
    ("vm", "10.50.0.1", 8005, {"uid": 1001}, "peer 10.50.0.1", "pass", 4, "10.50.0.1:8005"),
    ("vm", "10.50.0.1", 8006, {"uid": 1337}, "peer 10.50.0.1", "pass", 2, "10.50.0.1:8006"),
    ("vm", "10.50.0.1", 8007, {"mark": 0x1DC0}, "peer 10.50.0.1", "pass", 2, "10.50.0.1:8007"),
    ("vm", "10.0.0.2", 8008, {"uid": 1337}, "inbound 10.0.0.2", "inbound", 2, "127.0.0.1:15006"),
    ("peer", "10.0.0.2", 8009, {}, "inbound 10.0.0.2", "inbound", 8, "10.0.0.2:15006"),
    ("peer", "fd10::2", 8010, {}, "inbound fd10::2", "inbound", 8, "[fd10::2]:15006"),
    ("peer", "10.0.0.2", 15020, {}, "refused", "pass", 8, "10.0.0.2:15020"),
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call[0]}-{call[1]}-{call[2]}")
def test_what_is_told_is_what_the_other_end_saw(world: Any, told: Told, call: Any) -> None:
    where, destination, port, owner, place, verdict, rule, to = call
    with getattr(world, where).call(_socket, socket.SOCK_STREAM, destination, **owner) as one:
        reached = connect(one, destination, port)
        event = told.of(port)  # while the connection is there, so that its process is found
    assert reached == (place if place == "refused" else f"{place} {port}")
    assert (event.verdict, event.rule, event.to) == (verdict, rule, to)
    assert (event.destination, event.port, event.protocol) == (destination, port, "tcp")
    assert event.plane == "netfilter"
    assert event.source_port
    if where == "vm":
        assert (event.pid, event.uid) == (os.getpid(), owner.get("uid", 0))
    elif place != "refused":
        assert event.pid == os.getpid(), "who listens on the inbound port"


def test_a_rule_that_is_gone_is_not_told_as_if_it_had_been(
    world: Any, back_end: Any, told: Told
) -> None:
    """The kernel's word beats the plan's: a firewall's reload has flushed our rules."""
    world.vm.call(back_end.revert)
    try:
        world.vm.sh(
            "nft add table inet foreign;"
            "nft 'add chain inet foreign c { type filter hook output priority 0; }';"
            "nft add rule inet foreign c ct state new accept"
        )
        with world.vm.call(_socket, socket.SOCK_STREAM, "10.50.0.1") as one:
            assert connect(one, "10.50.0.1", 8101).startswith("peer")
            event = told.of(8101)
        assert (event.verdict, event.rule) == ("pass", 0)
        assert "not as planned: rule 7" in event.why
    finally:
        world.vm.sh("nft delete table inet foreign", check=False)
        install(world, back_end, CAPTURE)


def test_dns_that_the_responder_has_is_not_told_twice(world: Any, told: Told) -> None:
    assert world.tcp("vm", "1.1.1.1", 53) == "dns 1.1.1.1 53"
    world.tcp("vm", "8.8.8.8", 8201)
    told.of(8201)
    assert told.events == []


def test_an_arrival_by_tproxy_is_told_by_who_has_accepted_it(world: Any, back_end: Any) -> None:
    told = Told(world, install(world, back_end, TPROXY))
    try:
        assert world.tcp("peer", "10.0.0.2", 80).startswith("inbound")
        event = told.of(80)
        assert (event.verdict, event.rule, event.to) == ("inbound", 8, "127.0.0.1:15006")
    finally:
        told.close()
        install(world, back_end, CAPTURE)


def test_with_nobody_listening_there_is_no_rule_and_no_socket(world: Any, back_end: Any) -> None:
    def rules() -> str:
        return str(back_end.observe())

    installed = install(world, back_end, CAPTURE)
    before = world.vm.call(rules)
    told = Told(world, installed)
    assert world.vm.call(rules) == before
    assert listeners(world) == 1
    told.close()
    assert world.vm.call(rules) == before
    assert listeners(world) == 0


def listeners(world: Any) -> int:
    """Netlink sockets of the VM that are told of new connections (group 1 of protocol 12)."""
    text = world.vm.call(Path("/proc/thread-self/net/netlink").read_text)
    rows = (line.split() for line in text.splitlines()[1:])
    return sum(1 for row in rows if row[1] == "12" and int(row[3], 16) & 1)
