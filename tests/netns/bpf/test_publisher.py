"""The publisher over real maps: whole tables, differences, and what a reader sees meanwhile."""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import threading
import time
from collections.abc import Coroutine
from dataclasses import replace
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from interceptor.dns import entry, suffix, view
from interceptor.dns.entry import Touched
from interceptor.dns.publisher import Publisher
from interceptor.dns.view import View
from interceptor.host import bpfmap
from interceptor.host.layout import LOCALE_HEAD, SPECS, LocaleFlag, Map, State, ValueFlag
from interceptor.mesh import record
from interceptor.mesh.directory import Directory
from interceptor.mesh.model import Endpoint, Host, Kind, Locale

if TYPE_CHECKING:
    from tests.netns.bpf.conftest import Kernel

pytestmark = pytest.mark.root

A1, A2, S1 = ip_address("10.0.0.1"), ip_address("10.0.0.2"), ip_address("fd00::1")
LOCALE = Locale("vm", search=("corp.test",), own_zones=("own.test",))


def run(work: Coroutine[object, object, object]) -> None:
    asyncio.run(work)


class Bench:
    """A directory, and a publisher that follows it."""

    def __init__(self, kernel: Kernel, locale: Locale = LOCALE) -> None:
        self.maps = kernel.maps
        self.directory = Directory(locale)
        self.publisher = Publisher(kernel.maps)

    async def load(self, *hosts: Host) -> None:
        for host in hosts:
            self.directory.put(host.name, record.encode(host))
        await self.publisher.load(self.directory)

    async def change(self, *hosts: Host, removed: tuple[str, ...] = ()) -> None:
        touched = Touched()
        for name in (*removed, *(host.name for host in hosts)):
            there = self.directory.at(name)
            touched.add(name, there[0] if there else None)
        for name in removed:
            self.directory.drop(name)
        for host in hosts:
            self.directory.put(host.name, record.encode(host))
            touched.add(host.name, record.encode(host))
        await self.publisher.apply(self.directory, touched)

    def seen(self) -> View:
        found = view.observe(self.maps)
        assert found is not None
        return found

    def flags(self) -> LocaleFlag:
        return LocaleFlag(LOCALE_HEAD.unpack_from(self.seen().locale)[1])


@pytest.fixture
def bench(kernel: Kernel) -> Bench:
    return Bench(kernel)


def host(name: str, *addresses: object, **more: object) -> Host:
    kind = more.pop("kind", Kind.SERVICE)
    return Host(name, "x", kind, tuple(addresses), **more)  # type: ignore[arg-type]


def key(rest: str, mark: int = 0) -> bytes:
    return entry.encode_key(rest, mark)


MESH = (
    host("reviews.vm.svc.cluster.local", A1, A2, S1),
    host("*.wild.test", A2),
    host("*.deep.wild.test", A2, S1),
    host("ext.vm.svc.cluster.local", kind=Kind.EXTERNAL_NAME, external_name="x.test"),
    host("table.test", A1, kind=Kind.NAME_TABLE, extra_names=("other.test", "reviews.b")),
    host("open.test", kind=Kind.SERVICE_ENTRY),
    host("backed.test", S1, endpoints=(Endpoint(ip_address("10.9.9.9")),)),
)


def test_before_the_first_table_there_is_no_view(bench: Bench) -> None:
    assert view.observe(bench.maps) is None
    run(bench.change(host("a.test", A1)))
    assert view.observe(bench.maps) is None


def test_a_table_is_in_the_kernel_as_it_is_encoded(bench: Bench) -> None:
    run(bench.load(*MESH))
    seen = bench.seen()
    suffixes = suffix.choose(LOCALE)
    plain = [name for name in bench.directory.names() if not name.startswith("*.")]
    pairs = [pair for name in plain for pair in entry.pairs(bench.directory, suffixes, name)]
    assert seen.names == dict(pairs)
    assert len(seen.names) == 7
    wild = [entry.wild_pair(bench.directory, suffixes, n) for n in ("wild.test", "deep.wild.test")]
    assert seen.wild == dict(wild)
    assert seen.pointers == set(map(entry.pointer_key, bench.directory.pointers()))
    assert LOCALE_HEAD.unpack_from(seen.locale) == (30, 0xF, 0b1100)
    reviews = entry.decode_value(key("reviews", 0xFF), seen.names[key("reviews", 0xFF)])
    assert (reviews.v4, reviews.v6) == (A1.packed + A2.packed, S1.packed)
    assert reviews.is_whole


def test_every_load_goes_to_the_view_that_is_not_in_force(bench: Bench, kernel: Kernel) -> None:
    run(bench.load(*MESH))
    first = bench.seen()
    run(bench.load(host("new.test", A1)))
    second = bench.seen()
    assert first.number != second.number
    assert second.names.keys() - first.names.keys() == {key("new.test")}
    for number in (Map.NAMES, Map.WILD, Map.POINTERS):
        assert kernel.maps[number].lookup(bpfmap.index(first.number)) is None


def test_a_new_worker_needs_nothing_of_the_old_one(bench: Bench, kernel: Kernel) -> None:
    run(bench.load(*MESH))
    bench.publisher.close()
    heir = Bench(kernel)
    run(heir.load(host("only.test", A1)))
    assert set(heir.seen().names) == {key("only.test")}
    run(heir.change(host("more.test", A1)))
    assert set(heir.seen().names) == {key("only.test"), key("more.test")}


def test_a_change_is_a_difference_in_the_view_in_force(bench: Bench) -> None:
    run(bench.load(*MESH))
    before, writes = bench.seen(), bench.publisher.writes
    run(bench.change(host("open.test", A2, kind=Kind.SERVICE_ENTRY)))
    after = bench.seen()
    assert after.number == before.number
    assert {k for k in after.names if after.names[k] != before.names[k]} == {key("open.test")}
    assert bench.publisher.writes == writes + 1
    run(bench.change(*MESH[:3], host("open.test", A2, kind=Kind.SERVICE_ENTRY)))
    assert bench.publisher.writes == writes + 1  # nothing was another


def test_flags_follow_the_last_wildcard_and_the_last_pointer(bench: Bench) -> None:
    both = LocaleFlag.HAS_WILD | LocaleFlag.HAS_POINTERS
    run(bench.load())
    assert not bench.flags() & both
    run(bench.change(host("*.a.test", A1), host("b.test", A1)))
    assert bench.flags() & both == both
    assert LOCALE_HEAD.unpack_from(bench.seen().locale)[2] == 0b100
    run(bench.change(removed=("*.a.test", "b.test")))
    assert not bench.flags() & both
    assert LOCALE_HEAD.unpack_from(bench.seen().locale)[2] == 0


def test_what_two_hosts_share_stays_until_both_are_gone(bench: Bench) -> None:
    one, two = (
        host(name, A1, endpoints=(Endpoint(A2),), extra_names=("alt.test",))
        for name in ("a.test", "b.test")
    )
    run(bench.load(one, two))
    pointers = {entry.pointer_key(A1.packed), entry.pointer_key(A2.packed)}
    run(bench.change(removed=("a.test",)))
    assert bench.seen().pointers == pointers
    value = entry.decode_value(key("alt.test"), bench.seen().names[key("alt.test")])
    assert value.flags is ValueFlag.EXTRA
    run(bench.change(removed=("b.test",)))
    assert (bench.seen().names, bench.seen().pointers) == ({}, frozenset())


def test_any_course_of_changes_ends_as_if_loaded_at_once(bench: Bench, kernel: Kernel) -> None:
    dice = random.Random(4)
    names = [f"{n}.{end}" for n in "abc" for end in ("test", "vm.svc.cluster.local", "a.own.test")]
    names += [f"*.{name}" for name in names[:4]]

    def make() -> Host:
        addresses = dice.sample([A1, A2, S1], dice.randrange(4))
        ends = tuple(map(Endpoint, dice.sample([A1, A2], dice.randrange(3))))
        extra = tuple(dice.sample(["alt.test", "a.vm", *names[:3]], dice.randrange(3)))
        kind = dice.choice([Kind.SERVICE, Kind.SERVICE_ENTRY])
        return host(dice.choice(names), *addresses, kind=kind, endpoints=ends, extra_names=extra)

    async def course() -> None:
        await bench.load(*(make() for _ in range(5)))
        for _ in range(150):
            hosts = [make() for _ in range(dice.randrange(4))]
            gone = tuple(dice.sample(names, dice.randrange(3)))
            await bench.change(*hosts, removed=gone)
        followed = bench.seen()
        assert bench.publisher.loads == 1
        await bench.publisher.load(bench.directory)
        assert replace(bench.seen(), number=followed.number) == followed

    run(course())


def test_a_table_that_outgrows_its_map_is_loaded_into_a_larger_one(bench: Bench) -> None:
    hosts = [host(f"h{n}.test", A1 + n) for n in range(2000)]

    async def course() -> None:
        await bench.load()
        for at in range(0, len(hosts), 250):
            await bench.change(*hosts[at : at + 250])
            assert len(bench.seen().names) == at + 250
        assert bench.publisher.loads > 1
        await bench.change(host("last.test", A2))

    run(course())
    assert key("last.test") in bench.seen().names


def test_a_swarm_that_does_not_fit_at_all_is_loaded_too(bench: Bench) -> None:
    run(bench.load())
    run(bench.change(*(host(f"h{n}.test", A1 + n) for n in range(3000))))
    assert len(bench.seen().names) == len(bench.seen().pointers) == 3000


def test_names_without_a_place_are_named_and_leave_the_others_alone(bench: Bench) -> None:
    long = ".".join(["x" * 60] * 3)
    run(bench.load(*MESH, host(long, A1), host(f"*.{long}", A1)))
    assert len(bench.seen().names) == 7
    (problem,) = bench.publisher.problems
    assert "2 names are too long" in problem
    run(bench.change(host(long, A2), removed=(f"*.{long}",)))
    assert len(bench.seen().names) == 7


def read_two(bench: Bench) -> tuple[bytes | None, bytes | None] | None:
    """Two names of the view in force, as a program finds them; None where it was just replaced."""
    spec = SPECS[Map.NAMES].inner
    assert spec is not None
    try:
        place = bench.maps[Map.NAMES].lookup(
            bpfmap.index(bpfmap.read_state(bench.maps[Map.STATE], State.VIEW))
        )
        if place is None:
            return None
        inner = bpfmap.open_id(int.from_bytes(place, "little"), spec)
    except FileNotFoundError:
        return None
    try:
        return inner.lookup(key("a.test")), inner.lookup(key("z.test"))
    finally:
        inner.close()


def test_no_reader_ever_sees_half_a_table(bench: Bench) -> None:
    """Each table gives both of its names one address, which no other table has."""
    seen: list[tuple[bytes | None, bytes | None]] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            if (found := read_two(bench)) is not None:
                seen.append(found)

    async def loads() -> None:
        for n in range(30):
            others = (host(f"h{m}.test", A1) for m in range(1000))
            await bench.load(host("a.test", A1 + n), *others, host("z.test", A1 + n))

    run(bench.load(host("a.test", A1), host("z.test", A1)))
    reader = threading.Thread(target=read)
    reader.start()
    try:
        run(loads())
    finally:
        stop.set()
        reader.join()
    assert len(seen) > 100
    assert len(set(seen)) > 5
    for one, other in set(seen):
        assert one is not None
        assert other is not None
        decoded = entry.decode_value(key("a.test"), one), entry.decode_value(key("z.test"), other)
        assert decoded[0] == decoded[1]


@pytest.mark.slow
def test_a_hundred_thousand_names_are_published_and_followed_in_time(bench: Bench) -> None:
    def service(n: int, shift: int = 0) -> Host:
        return host(f"svc{n}.ns{n % 300}.svc.cluster.local", A1 + n + shift)

    async def course() -> None:
        for n in range(100_000):
            bench.directory.put(service(n).name, record.encode(service(n)))
        began, worst = time.process_time(), 0.0
        load = asyncio.create_task(bench.publisher.load(bench.directory))
        while not load.done():
            turn = time.thread_time()
            await asyncio.sleep(0)
            worst = max(worst, time.thread_time() - turn)
        took_s = time.process_time() - began
        changes = []
        for n in range(0, 100_000, 500):
            before = time.perf_counter()
            await bench.change(service(n, 1 << 20))
            changes.append(time.perf_counter() - before)
        print(f"load {took_s:.2f} s of CPU, longest turn {worst * 1e3:.1f} ms", end=", ")
        print(f"a change {statistics.median(changes) * 1e6:.0f} us")
        assert took_s < 4
        assert worst < 0.1
        assert statistics.median(changes) < 0.002

    run(course())
    assert len(bench.seen().names) == 100_000
    sizes = {number: kernel_bytes(bench, number) for number in (Map.NAMES, Map.POINTERS)}
    assert sum(sizes.values()) < 80 << 20


def kernel_bytes(bench: Bench, number: Map) -> int:
    """What the kernel charges for an inner map (kernels from 6.4 on say it for filled ones)."""
    table = bench.publisher._tables[number]
    with open(f"/proc/self/fdinfo/{table.map.fd}") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("memlock:"))


def test_publishing_leaves_nothing_open(bench: Bench) -> None:
    run(bench.load(*MESH))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        run(bench.load(*MESH))
    assert len(os.listdir("/proc/self/fd")) == before
