"""What the mesh says, worked out when it is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from ipaddress import ip_address, ip_network

import pytest

from interceptor.debug import knowledge
from interceptor.debug.knowledge import Knowledge
from interceptor.mesh.model import Endpoint, Host, Kind, Locale, Port
from interceptor.mesh.table import MeshTable

VIP, NODE, WIDE = (ip_address(text) for text in ("240.240.0.7", "10.77.0.31", "10.9.0.0"))
SHARED = ip_address("240.240.0.8")


def table(name: str = "reviews.test") -> MeshTable:
    http, admin = Port("http", 80), Port("admin", 81)
    first = Host(
        name,
        "x",
        Kind.SERVICE,
        (VIP, SHARED),
        (http,),
        endpoints=(Endpoint(NODE, (("http", 8080),)),),
    )
    second = Host("admin.test", "x", Kind.SERVICE, (SHARED,), (admin,))
    wide = Host("wide.test", "x", Kind.SERVICE_ENTRY, networks=(ip_network("10.9.0.0/16"),))
    return MeshTable({host.name: host for host in (first, second, wide)})


class Bench:
    def __init__(self) -> None:
        self.table = table()
        self.asked = 0
        self.knowledge = Knowledge(lambda: self.table, self.locale)

    def locale(self) -> Locale:
        self.asked += 1
        return Locale("vm")


@pytest.fixture
def bench() -> Bench:
    return Bench()


def run(step: Callable[[], object]) -> object:
    async def inside() -> object:
        return step()

    return asyncio.run(inside())


@pytest.mark.parametrize(
    ("address", "port", "arrives", "host"),
    [
        (VIP, 80, False, "reviews.test"),
        (VIP, 99, False, "reviews.test"),
        (SHARED, 80, False, "reviews.test"),
        (SHARED, 81, False, "admin.test"),
        (WIDE, 1, False, "wide.test"),
        (NODE, 8080, False, ""),
        (NODE, 8080, True, "reviews.test"),
        (NODE, 80, True, ""),
        (VIP, 80, True, ""),
    ],
)
def test_a_host_is_known_by_where_it_is_called_or_offered(
    bench: Bench, address, port: int, arrives: bool, host: str
) -> None:
    assert run(lambda: bench.knowledge.host(address, port, arrives)) == host


def test_names_are_resolved_as_they_are_answered(bench: Bench) -> None:
    def step() -> None:
        found = bench.knowledge.resolve("reviews.test", 1)
        assert found is not None
        assert [answer.data for answer in found.answers] == ["240.240.0.7", "240.240.0.8"]

    run(step)


def test_it_follows_the_table_and_is_worked_out_once(bench: Bench) -> None:
    def step() -> None:
        for _ in range(3):
            assert bench.knowledge.host(VIP, 80, False) == "reviews.test"
        assert bench.asked == 1
        bench.table = table("other.test")
        assert bench.knowledge.host(VIP, 80, False) == "other.test"
        bench.knowledge.forget()
        assert bench.knowledge.host(VIP, 80, False) == "other.test"
        assert bench.asked == 3

    run(step)


def test_a_large_table_is_worked_out_beside_the_loop(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(knowledge, "FEW", 1)

    async def step() -> None:
        assert bench.knowledge.host(VIP, 80, False) == ""
        assert bench.knowledge.resolve("reviews.test", 1) is None
        task = bench.knowledge._task
        assert task is not None
        await task
        assert bench.knowledge.host(VIP, 80, False) == "reviews.test"
        bench.table = table("other.test")
        assert bench.knowledge.host(VIP, 80, False) == "reviews.test", "not so often"
        assert bench.asked == 1

    asyncio.run(step())


def test_what_is_given_up_while_it_is_worked_out_is_not_kept(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(knowledge, "FEW", 1)

    async def step() -> None:
        bench.knowledge.host(VIP, 80, False)
        task = bench.knowledge._task
        assert task is not None
        bench.knowledge.forget()
        await asyncio.gather(task, return_exceptions=True)
        assert bench.knowledge._known is None

    asyncio.run(step())
