"""The daemon's side, with real workers that have no queue: no root needed."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from pathlib import Path

import pytest
from dnslib import DNSRecord

from interceptor.dns import plane as planes
from interceptor.dns.frame import Settings
from interceptor.dns.plane import Plane
from interceptor.mesh.model import Host, Kind, Locale
from interceptor.mesh.table import Difference


def host(name: str, address: str = "10.0.0.1") -> Host:
    return Host(name, "x", Kind.SERVICE_ENTRY, (ip_address(address),))


async def until(condition: Callable[[], Awaitable[bool]] | Callable[[], bool]) -> None:
    """What happens in another process can only be looked at again and again."""
    async with asyncio.timeout(10):
        while True:
            found = condition()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.01)


class Bench:
    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.hosts = {name: host(name) for name in ("a.test", "b.test")}
        self.log: list[str] = []
        self.plane = Plane(
            Settings(-1, 1, self.port, 0),
            lambda: (Locale(), tuple(self.hosts.values())),
            self.log.append,
        )

    async def ask(self, name: str) -> list[str]:
        """Addresses over TCP; empty while it is not (or no longer) a mesh name."""
        message = bytes(DNSRecord.question(name).pack())
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except ConnectionError:
            return []
        try:
            writer.write(len(message).to_bytes(2, "big") + message)
            size = int.from_bytes(await reader.readexactly(2), "big")
            record = DNSRecord.parse(await reader.readexactly(size))
            return [str(rr.rdata) for rr in record.rr]
        except (ConnectionError, asyncio.IncompleteReadError):
            return []
        finally:
            writer.close()

    async def until(self, name: str, wanted: list[str]) -> None:
        async def is_so() -> bool:
            return await self.ask(name) == wanted

        await until(is_so)

    async def replaced(self, former: int) -> None:
        await until(lambda: self.plane.pid not in (former, None) and self.plane.is_alive)


def run(work: Callable[[Bench], Awaitable[None]]) -> None:
    async def whole() -> None:
        bench = Bench()
        await bench.plane.open()
        try:
            await work(bench)
        finally:
            await bench.plane.close()
        assert bench.plane.pid is None
        assert not bench.plane.is_alive

    asyncio.run(whole())


def test_the_table_is_served_and_followed() -> None:
    async def work(bench: Bench) -> None:
        assert bench.plane.is_alive
        await bench.until("a.test", ["10.0.0.1"])
        await bench.plane.send(Difference((host("c.test", "10.0.0.3"),), ("a.test",)))
        await bench.until("c.test", ["10.0.0.3"])
        assert await bench.ask("a.test") == []
        bench.hosts = {"d.test": host("d.test")}
        await bench.plane.load()
        await bench.until("d.test", ["10.0.0.1"])
        assert await bench.ask("c.test") == []

    run(work)


def test_a_worker_that_was_started_ahead_takes_no_query_before_it_has_the_table() -> None:
    async def whole() -> None:
        bench = Bench()
        hosts, bench.hosts = bench.hosts, {}
        bench.plane.start()
        try:
            await until(lambda: bench.plane.beat_age_s < planes.HUNG_S)
            await bench.plane.send(Difference((host("early.test"),)))
            await bench.plane.load()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", bench.port)
            assert not bench.plane.is_alive
            pid, bench.hosts = bench.plane.pid, hosts
            await bench.plane.open()
            assert await bench.ask("a.test") == ["10.0.0.1"]
            assert bench.plane.pid == pid
        finally:
            await bench.plane.close()

    asyncio.run(whole())


@pytest.mark.parametrize("fate", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lost_worker_is_replaced_by_one_with_the_present_table(
    fate: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planes, "HUNG_S", 1.2)

    async def work(bench: Bench) -> None:
        first = bench.plane.pid
        assert first is not None
        await bench.until("a.test", ["10.0.0.1"])
        os.kill(first, fate)
        bench.hosts["a.test"] = host("a.test", "10.0.0.9")
        await bench.replaced(first)
        await bench.until("a.test", ["10.0.0.9"])
        assert bench.plane.restarts == 1
        assert "starting another" in bench.log[0]
        with pytest.raises(ProcessLookupError):
            os.kill(first, 0)

    run(work)


def test_counters_outlive_the_worker_that_counted() -> None:
    async def work(bench: Bench) -> None:
        await bench.until("a.test", ["10.0.0.1"])

        def answered() -> int:
            return bench.plane.counters.queries.get(("tcp", "answer", "A"), 0)

        await until(lambda: answered() > 0)
        before, first = answered(), bench.plane.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await bench.replaced(first)
        assert answered() >= before

    run(work)


def test_a_change_while_no_worker_lives_waits_for_the_next() -> None:
    async def work(bench: Bench) -> None:
        first = bench.plane.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        bench.hosts["c.test"] = host("c.test")
        await bench.plane.send(Difference((bench.hosts["c.test"],)))
        await bench.until("c.test", ["10.0.0.1"])

    run(work)


def test_a_worker_that_is_lost_while_it_is_told_of_a_change_is_no_error() -> None:
    class Broken:
        """A stream whose other end goes while it drains."""

        def __init__(self, plane: Plane) -> None:
            self.plane, self.closed = plane, False

        def is_closing(self) -> bool:
            return False

        def write(self, data: bytes) -> None:
            pass

        async def drain(self) -> None:
            self.plane._writer = None
            raise ConnectionResetError

        def close(self) -> None:
            self.closed = True

    async def work() -> None:
        bench = Bench()
        broken = Broken(bench.plane)
        bench.plane._writer = broken  # type: ignore[assignment]
        await bench.plane._write(b"x")
        assert broken.closed

    asyncio.run(work())


def test_a_worker_ends_with_its_daemon() -> None:
    async def orphan() -> int:
        bench = Bench()
        await bench.plane.open()
        pid = bench.plane.pid
        assert pid is not None
        assert bench.plane._writer is not None
        for task in bench.plane._tasks:
            task.cancel()
        bench.plane._writer.close()
        process = bench.plane._process
        assert process is not None
        code = await asyncio.to_thread(process.wait, 5)
        process.close()
        assert bench.plane._hold is not None
        bench.plane._hold.release()
        assert code == 0
        return pid

    asyncio.run(orphan())


def test_buckets_are_cumulative_and_stand_for_all_packets() -> None:
    bench = Bench()
    bench.plane._beat = planes.Beat(samples=(1, 2, *(0,) * 7), sampled_s=0.5)
    counters = bench.plane.counters
    assert [count for _, count in counters.buckets[:3]] == [16, 48, 48]
    assert counters.buckets[-1] == (float("inf"), 48)
    assert counters.sum_s == 8.0


def test_what_the_kernel_has_counted_outlives_workers_and_counts_once() -> None:
    bench = Bench()
    label = ("ebpf", "answer", "A")
    none = (0,) * 9
    former = planes.Beat(samples=none, queries={("tcp", "pass", "A"): 1}, standing={label: 5})
    bench.plane._past = planes._sum(bench.plane._past, former)
    assert bench.plane.counters.queries == {("tcp", "pass", "A"): 1, label: 5}
    bench.plane._beat = planes.Beat(samples=none, standing={label: 7})
    assert bench.plane.counters.queries == {("tcp", "pass", "A"): 1, label: 7}


def test_a_worker_is_started_by_the_command_that_is_made_of_its_own() -> None:
    async def work() -> None:
        bench = Bench()
        marked = Plane(
            Settings(-1, 1, bench.port, 0),
            lambda: (Locale(), ()),
            bench.log.append,
            lambda argv: ["env", "WRAPPED=1", *argv],
        )
        await marked.open()
        try:
            environment = Path(f"/proc/{marked.pid}/environ").read_bytes()
            assert b"WRAPPED=1" in environment.split(b"\0")
        finally:
            await marked.close()

    asyncio.run(work())
