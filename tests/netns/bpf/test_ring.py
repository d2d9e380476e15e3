"""The ring of events as a source: on while somebody listens, and only then."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dnslib import DNSRecord

from interceptor.debug import ring as rings
from interceptor.debug.event import Event, Kind
from interceptor.debug.flows import Flows
from interceptor.debug.judging import View
from interceptor.debug.ring import Ring
from interceptor.errors import InterceptorError
from interceptor.host import bpf, bpfmap, bytecode, clock, pin
from interceptor.host.bpfmap import BpfMap
from interceptor.host.layout import Map, State
from interceptor.host.process import Finder
from tests.netns.bpf.dns.conftest import query_packet

pytestmark = pytest.mark.root

VIEW = View(lambda: None, lambda *_: "", lambda _: "", lambda *_: None)


class Host:
    """Pinned maps, and the DNS program over them: without a policy every query is exempt."""

    def __init__(self, folder: Path, compiled: Any) -> None:
        self.folder = folder
        self.maps: dict[Map, BpfMap] = pin.open_maps(folder)
        descriptors = {number: each.fd for number, each in self.maps.items()}
        self.program = bytecode.load(compiled["dns_egress"], descriptors)

    def ask(self, name: str, repeat: int = 1) -> None:
        message = bytes(DNSRecord.question(name).pack())
        bpf.run_program(self.program, query_packet(message), b"", repeat)

    def until_ns(self) -> int:
        return bpfmap.read_state(self.maps[Map.STATE], State.TRACE_NS)

    def close(self) -> None:
        os.close(self.program)
        for each in self.maps.values():
            each.close()


@pytest.fixture
def host(bpffs: Path, compiled: Any) -> Iterator[Host]:
    pin.prepare(bpffs)
    made = Host(bpffs, compiled)
    yield made
    made.close()


@pytest.fixture
def ring(host: Host) -> Ring:
    return Ring(host.folder, VIEW, Finder(), Flows())


def test_decisions_are_told_while_somebody_listens(host: Host, ring: Ring) -> None:
    found: list[Event] = []

    async def listen() -> None:
        arrived = asyncio.Event()
        await ring.open(lambda event: (found.append(event), arrived.set())[0])
        host.ask("a.test")
        async with asyncio.timeout(3):
            await arrived.wait()
        await ring.close()

    before_s = time.time()
    asyncio.run(listen())
    (event,) = found
    assert (event.kind, event.plane, event.verdict) == (Kind.DNS, "kernel", "pass")
    assert (event.name, event.protocol, event.destination) == ("a.test", "udp", "192.0.2.53")
    assert (event.source, event.source_port) == ("192.0.2.1", 40000)
    assert "exempt" in event.why
    assert before_s - 1 < event.time_s < time.time() + 1


def test_nothing_is_written_before_and_after(host: Host, ring: Ring) -> None:
    found: list[Event] = []
    host.ask("before.test")

    async def listen() -> None:
        await ring.open(found.append)
        assert 0 < host.until_ns() - clock.kernel_ns() <= rings.LEASE_NS
        await ring.close()
        await ring.close()
        assert host.until_ns() == 0

    asyncio.run(listen())
    host.ask("after.test")
    asyncio.run(listen())
    assert found == []


def test_a_lease_runs_out_by_itself(host: Host, ring: Ring) -> None:
    """As after SIGKILL: nobody reads any more, and the programs fall silent."""
    bpfmap.write_state(host.maps[Map.STATE], State.TRACE_NS, clock.kernel_ns() - 1)
    host.ask("late.test")
    found: list[Event] = []

    async def listen() -> None:
        await ring.open(found.append)
        await asyncio.sleep(0.1)
        await ring.close()

    asyncio.run(listen())
    assert found == []


def test_what_is_too_much_is_counted(host: Host, ring: Ring) -> None:
    found: list[Event] = []

    async def listen() -> None:
        await ring.open(found.append)
        host.ask("flood.test", repeat=5000)  # more than the ring holds, before it is read
        await asyncio.sleep(0.3)
        await ring.close()

    asyncio.run(listen())
    assert 500 < len(found) < 5000
    assert len(found) + ring.left_out == 5000
    asyncio.run(listen())
    assert len(found) + ring.left_out == 10000, "the count goes on where it was"


def test_without_programs_the_source_says_so(bpffs: Path) -> None:
    with pytest.raises(InterceptorError, match="is not there"):
        asyncio.run(Ring(bpffs, VIEW, Finder(), Flows()).open(lambda _: None))
