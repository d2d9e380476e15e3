"""Query packets of forward zones: asked once each, answered by a packet, bounded."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
from scapy.layers.dns import DNS
from scapy.layers.inet import IP, UDP
from scapy.packet import Raw

from interceptor.dns import forward, relay
from interceptor.dns.relay import Relay

Query = Callable[..., bytes]


def udp(message: bytes, port: int = 4000) -> bytes:
    return bytes(IP(src="10.1.1.1", dst="10.1.1.2") / UDP(sport=port, dport=53) / Raw(message))


class Bench:
    """A relay whose questions wait for `go`, and what it sends."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, int]] = []
        self.asked: list[bytes] = []
        self.largest = 65535
        self.go, self.enough = asyncio.Event(), asyncio.Event()
        self.relay = Relay(self._ask, self._send)

    async def _ask(self, message: bytes) -> bytes:
        self.asked.append(message)
        await self.go.wait()
        question = forward.wire.parse(message)
        assert isinstance(question, forward.wire.Question)
        return forward.fail(message, question) + bytes(self.largest // 64)

    def _send(self, packet: bytes, interface: int) -> None:
        if len(packet) > self.largest:
            raise OSError(90, "Message too long")
        self.sent.append((packet, interface))
        if len(self.sent) == 50:
            self.enough.set()

    async def settle(self) -> None:
        self.go.set()
        async with asyncio.timeout(10):
            await asyncio.gather(*self.relay._open.values(), return_exceptions=True)


def test_a_reply_goes_back_to_where_the_query_came_from(query: Query) -> None:
    async def work() -> None:
        bench = Bench()
        bench.relay.take(udp(query("a.zone.test")), 7)
        bench.go.set()
        await bench.settle()
        ((packet, interface),) = bench.sent
        answer = IP(packet)
        assert (answer.src, answer.dst, answer[UDP].dport) == ("10.1.1.2", "10.1.1.1", 4000)
        assert (interface, DNS(bytes(answer[UDP].payload)).rcode) == (7, 2)

    asyncio.run(work())


def test_a_query_that_is_repeated_is_asked_once(query: Query) -> None:
    async def work() -> None:
        bench = Bench()
        asked = query("a.zone.test")
        for packet in (udp(asked), udp(asked), udp(asked, port=4001)):
            bench.relay.take(packet, 0)
        await bench.settle()
        assert (len(bench.asked), len(bench.sent)) == (2, 2)
        assert bench.relay.counts == {"forward-repeated": 1}

    asyncio.run(work())


def test_a_reply_too_large_for_the_link_is_sent_as_one_cut_short(query: Query) -> None:
    async def work() -> None:
        bench = Bench()
        bench.largest = 80
        bench.relay._ask = bench._ask
        reply = query("a.zone.test") + bytes(200)

        async def ask(_message: bytes) -> bytes:
            return reply

        bench.relay._ask = ask
        bench.relay.take(udp(query("a.zone.test")), 0)
        await bench.settle()
        ((packet, _),) = bench.sent
        assert DNS(bytes(IP(packet)[UDP].payload)).tc == 1

    asyncio.run(work())


def test_what_finds_no_room_is_counted(query: Query, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "OPEN", 2)
    monkeypatch.setattr(relay, "WAITING", 3)

    async def work() -> None:
        bench = Bench()
        for port in range(4):
            bench.relay.take(udp(query("a.zone.test"), 4000 + port), 0)
        assert bench.relay.counts["forward-lost"] == 2
        for port in range(5):
            bench.relay.give(udp(query("a.zone.test"), 5000 + port), 0)
        assert bench.relay.counts["forward-lost"] == 4
        await bench.settle()

    asyncio.run(work())


def test_another_thread_may_give(query: Query) -> None:
    async def work() -> None:
        bench = Bench()
        bench.go.set()
        packets = [udp(query("a.zone.test"), 4000 + n) for n in range(50)]
        thread = threading.Thread(target=lambda: [bench.relay.give(one, 3) for one in packets])
        thread.start()
        async with asyncio.timeout(10):
            await bench.enough.wait()
        thread.join()
        assert {interface for _, interface in bench.sent} == {3}

    asyncio.run(work())


def test_what_goes_wrong_with_one_query_is_counted(query: Query) -> None:
    async def work() -> None:
        bench = Bench()
        bench.relay.take(b"no packet", 0)
        bench.relay.take(udp(query("a.zone.test")), 0)
        await bench.settle()
        assert bench.relay.counts == {"forward-ValueError": 1}
        assert len(bench.sent) == 1

    asyncio.run(work())


def test_closing_lets_go_of_what_is_asked(query: Query) -> None:
    async def work() -> None:
        bench = Bench()
        bench.relay.take(udp(query("a.zone.test")), 0)
        await asyncio.sleep(0)
        bench.relay.close()
        await asyncio.sleep(0.01)
        assert not bench.relay._open
        assert not bench.sent

    asyncio.run(work())
