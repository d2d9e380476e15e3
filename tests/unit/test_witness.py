"""The DNS worker as a source of events, by a real worker without a queue: TCP/53."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable
from ipaddress import ip_address

import pytest
from dnslib import DNSRecord

from interceptor import witness
from interceptor.debug.event import Event, Kind
from interceptor.dns.frame import Settings
from interceptor.dns.plane import Plane
from interceptor.errors import InterceptorError
from interceptor.mesh.answer import Answers
from interceptor.mesh.model import Host, Locale
from interceptor.mesh.model import Kind as HostKind
from interceptor.witness import Witness

ORIGINS = {"a.test": "ServiceEntry shop/a"}
HOSTS = (
    Host("a.test", "x", HostKind.SERVICE_ENTRY, (ip_address("10.0.0.1"),)),
    Host("*.b.test", "x", HostKind.SERVICE_ENTRY, (ip_address("10.0.0.2"),)),
)
LOCALE = Locale(search=("corp.test",), own_zones=("own.test",))
REFERENCE = Answers.build(HOSTS, LOCALE, lambda name: ORIGINS.get(name, ""))


def origin(name: str) -> str:
    return ORIGINS.get(name, "")


class Bench:
    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        settings = Settings(-1, 1, self.port, 0)
        self.plane = Plane(settings, lambda: (LOCALE, HOSTS), print)
        self.witness = Witness(lambda: self.plane, origin)
        self.told: list[Event] = []
        self._open: list[asyncio.StreamWriter] = []

    async def ask(self, name: str, kind: str = "A") -> tuple[str, int]:
        """Over TCP. Our end; where nobody is behind us, a name that is not ours is a reset."""
        message = bytes(DNSRecord.question(name, kind).pack())
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._open.append(writer)  # who closes it at once may be gone before it is looked for
        end: tuple[str, int] = writer.get_extra_info("sockname")
        try:
            writer.write(len(message).to_bytes(2, "big") + message)
            writer.write_eof()
            await reader.read()
        except ConnectionError:
            pass
        return end

    def close(self) -> None:
        for writer in self._open:
            writer.close()

    async def until(self, condition: Callable[[], bool]) -> None:
        """What happens in another process can only be looked at again and again."""
        for _ in range(1000):
            if condition():
                return
            await asyncio.sleep(0.01)
        raise TimeoutError(f"only {self.told}")


def run(work: Callable[[Bench], Awaitable[None]]) -> None:
    async def whole() -> None:
        bench = Bench()
        await bench.plane.open()
        try:
            async with asyncio.timeout(30):
                await work(bench)
        finally:
            bench.close()
            await bench.witness.close()
            await bench.plane.close()

    asyncio.run(whole())


CASES = [
    ("a.test", "A"),
    ("a.test", "AAAA"),
    ("A.Test.corp.test", "A"),
    ("x.b.test", "A"),
    ("nobody.own.test", "A"),
    ("www.other.test", "TXT"),
    ("1.0.0.10.in-addr.arpa", "PTR"),
]


def test_each_query_is_told_as_resolve_tells_it() -> None:
    async def work(bench: Bench) -> None:
        await bench.witness.open(bench.told.append)
        began = time.time()
        ends = [await bench.ask(name, kind) for name, kind in CASES]
        await bench.until(lambda: len(bench.told) == len(CASES))
        for event, (name, kind), end in zip(bench.told, CASES, ends, strict=True):
            wanted = REFERENCE.resolve(name, kind)
            assert (event.name, event.qtype) == (wanted.name, wanted.type)
            assert (event.verdict, event.host) == (wanted.verdict.value, wanted.host)
            assert event.why == wanted.why
            assert event.answers == tuple(answer.data for answer in wanted.answers)
            assert (event.source, event.source_port) == end
            assert (event.destination, event.port) == ("127.0.0.1", bench.port)
            assert (event.kind, event.plane, event.protocol) == (Kind.DNS, "tcp", "tcp")
            assert began - 1 < event.time_s < time.time() + 1
            assert event.took_s is not None
            assert 0 <= event.took_s < 5
        assert {event.pid for event in bench.told} == {os.getpid()}
        assert {event.uid for event in bench.told} == {os.geteuid()}
        assert bench.witness.left_out == 0

    run(work)


def test_nothing_is_told_before_and_after() -> None:
    async def work(bench: Bench) -> None:
        await bench.ask("a.test")
        await bench.witness.open(bench.told.append)
        await bench.ask("x.b.test")
        await bench.until(lambda: bool(bench.told))
        await bench.witness.close()
        await bench.ask("a.test")
        await bench.witness.open(bench.told.append)
        await bench.ask("y.b.test")
        await bench.until(lambda: len(bench.told) == 2)
        assert [event.name for event in bench.told] == ["x.b.test", "y.b.test"]

    run(work)


def test_a_worker_that_takes_over_tells_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witness, "RENEW_S", 0.1)

    async def work(bench: Bench) -> None:
        await bench.witness.open(bench.told.append)
        former = bench.plane.pid
        assert former is not None
        os.kill(former, 9)
        await bench.until(lambda: bench.plane.pid not in (None, former) and bench.plane.is_alive)
        for _ in range(100):
            await bench.ask("a.test")
            if bench.told:
                break
            await asyncio.sleep(0.05)
        assert bench.told[0].name == "a.test"

    run(work)


def test_a_daemon_that_falls_silent_costs_a_lease_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(witness, "LEASE_S", 0.3)
    monkeypatch.setattr(witness, "RENEW_S", 60.0)

    async def work(bench: Bench) -> None:
        await bench.witness.open(bench.told.append)
        await asyncio.sleep(0.6)  # nobody renews
        await bench.ask("a.test")
        await asyncio.sleep(0.2)
        assert bench.told == []

    run(work)


def test_a_sink_that_fails_costs_an_event_and_no_worker() -> None:
    async def work(bench: Bench) -> None:
        def sink(event: Event) -> None:
            if event.name == "a.test":
                raise ValueError("no room")
            bench.told.append(event)

        await bench.witness.open(sink)
        former = bench.plane.pid
        await bench.ask("a.test")
        await bench.ask("x.b.test")
        await bench.until(lambda: bool(bench.told))
        assert bench.witness.left_out == 1
        assert bench.plane.pid == former

    run(work)


def test_without_a_worker_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witness, "FIRST_S", 0.05)

    async def whole() -> None:
        bench = Bench()
        with pytest.raises(InterceptorError, match="once it is back"):
            await bench.witness.open(bench.told.append)
        await bench.witness.close()

    asyncio.run(whole())


def test_a_daemon_without_dns_has_nothing_to_tell() -> None:
    async def whole() -> None:
        silent = Witness(lambda: None, origin)
        await silent.open(lambda event: None)
        await silent.close()

    asyncio.run(whole())
