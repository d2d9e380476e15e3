"""The hub: sources on while somebody listens, streams that are bounded and say so."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import pytest

from interceptor.debug import trace
from interceptor.debug.event import Event, Kind, Sink
from interceptor.debug.selection import Selection
from interceptor.debug.trace import Hub, Listener, TooMany
from interceptor.errors import InterceptorError


class Source:
    """A source that is told what to tell."""

    def __init__(self, fails: str = "") -> None:
        self.left_out = 0
        self.sink: Sink | None = None
        self.opened = self.closed = 0
        self._fails = fails

    async def open(self, sink: Sink) -> None:
        self.opened += 1
        await asyncio.sleep(0)
        if self._fails:
            raise InterceptorError(self._fails)
        self.sink = sink

    async def close(self) -> None:
        self.closed += 1
        self.sink = None

    def tell(self, name: str) -> None:
        assert self.sink is not None
        self.sink(Event(0.0, Kind.DNS, "tcp", "pass", name=name))


def run(work: Callable[[Hub, Source], Awaitable[None]]) -> None:
    async def whole() -> None:
        source = Source()
        hub = Hub([source])
        async with asyncio.timeout(10):
            await work(hub, source)
        await hub.close()

    asyncio.run(whole())


async def lines(stream: AsyncGenerator[bytes, None]) -> list[dict[str, object]]:
    """What the stream says next."""
    return [json.loads(line) for line in (await anext(stream)).splitlines()]


def test_sources_are_on_from_the_first_listener_to_the_last() -> None:
    async def work(hub: Hub, source: Source) -> None:
        assert source.opened == 0
        async with aclosing(hub.listen(Selection())) as one:
            assert await lines(one) == [{"left_out": 0}]
            assert source.sink is not None
            async with aclosing(hub.listen(Selection())) as other:
                await lines(other)
            assert (source.opened, source.closed) == (1, 0)
        assert (source.opened, source.closed) == (1, 1)
        async with aclosing(hub.listen(Selection())) as again:
            await lines(again)
            assert source.opened == 2

    run(work)


def test_each_listener_gets_what_it_wants() -> None:
    async def work(hub: Hub, source: Source) -> None:
        everything, some = hub.listen(Selection()), hub.listen(Selection(names=("b",)))
        async with aclosing(everything), aclosing(some):
            await lines(everything)
            await lines(some)
            source.tell("a")
            source.tell("b")
            assert [line["name"] for line in await lines(everything)] == ["a", "b"]
            assert [line["name"] for line in await lines(some)] == ["b"]

    run(work)


def test_a_source_that_cannot_tell_is_named_and_the_others_tell() -> None:
    async def whole() -> None:
        good, bad = Source(), Source("no such table")
        hub = Hub([bad, good])
        async with aclosing(hub.listen(Selection())) as stream:
            first = await lines(stream)
            assert first == [{"left_out": 0}, {"left_out": 0, "note": "no such table"}]
            good.tell("a")
            assert (await lines(stream))[0]["name"] == "a"
        assert bad.closed == 1

    asyncio.run(whole())


def test_what_sources_lose_and_what_is_too_much_is_told_each_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trace, "TURN_S", 0.05)
    monkeypatch.setattr(trace, "HELD_S", 0.01)

    async def work(hub: Hub, source: Source) -> None:
        source.left_out = 100  # before anybody listened
        async with aclosing(hub.listen(Selection(rate=2))) as stream:
            await lines(stream)
            source.left_out += 5
            for name in "abcdefgh":
                source.tell(name)
            said: list[dict[str, object]] = []
            while not (said and "left_out" in said[-1]):
                said += await lines(stream)
            told = [line["name"] for line in said if "name" in line]
            assert len(told) in (2, 4), "the second may turn"
            assert said[-1]["left_out"] == 5 + 8 - len(told)
            assert await lines(stream) == [{"left_out": 0}]

    run(work)


def test_a_stream_ends_after_its_count_and_says_what_it_left_out() -> None:
    async def work(hub: Hub, source: Source) -> None:
        stream = hub.listen(Selection(count=2))
        await lines(stream)
        for name in "abc":
            source.tell(name)
        said = [line async for chunk in stream for line in chunk.splitlines()]
        assert [json.loads(line).get("name") for line in said] == ["a", "b", None]
        assert source.closed == 1

    run(work)


def test_a_stream_ends_after_its_time() -> None:
    async def work(hub: Hub, source: Source) -> None:
        stream = hub.listen(Selection(duration_s=0.05))
        assert [json.loads(line) async for line in stream] == [{"left_out": 0}, {"left_out": 0}]

    run(work)


def test_the_end_of_the_daemon_ends_every_stream() -> None:
    async def work(hub: Hub, source: Source) -> None:
        stream = hub.listen(Selection())
        await lines(stream)
        ended = asyncio.ensure_future(anext(stream, None))
        await asyncio.sleep(0)
        await hub.close()
        assert await ended is None
        assert source.closed >= 1
        with pytest.raises(TooMany):
            await anext(hub.listen(Selection()))

    run(work)


def event(name: str, time_s: float = 0.0, pid: int = 0) -> Event:
    return Event(time_s, Kind.DNS, "tcp", "pass", name=name, pid=pid)


def names(lines: bytes) -> str:
    return "".join(json.loads(line)["name"] for line in lines.splitlines())


def test_events_stand_in_the_order_of_their_time_whoever_is_late() -> None:
    async def main() -> None:
        now = 0.0
        listener = Listener(Selection(), lambda: now)
        listener.offer(event("b", 2.0))
        listener.offer(event("d", 4.0))
        now = 0.1
        listener.offer(event("a", 1.0))
        listener.offer(event("e", 5.0))
        assert listener.take(held_s=0.15) == b""
        now = 0.16
        listener.offer(event("c", 3.0))
        assert names(listener.take(held_s=0.15)) == "abcd"
        assert listener.arrived.is_set()
        assert names(listener.take()) == "e"
        assert not listener.arrived.is_set()

    asyncio.run(main())


def test_nobody_wishes_to_see_the_daemon_itself() -> None:
    async def main() -> None:
        source = Source()
        hub = Hub([source], lambda: (7,))
        async with aclosing(hub.listen(Selection())) as stream:
            await lines(stream)
            assert source.sink is not None
            for one in (event("ours", pid=7), event("theirs", pid=8), event("nobody's")):
                source.sink(one)
            assert names(await anext(stream)) == "theirsnobody's"

    asyncio.run(main())


def test_what_is_still_held_when_a_stream_ends_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "HELD_S", 0.05)

    async def work(hub: Hub, source: Source) -> None:
        stream = hub.listen(Selection())
        await lines(stream)
        source.tell("a")
        told = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        await hub.close()
        assert names(await told) == "a"
        assert await anext(stream, None) is None

    run(work)


def test_there_is_an_end_to_listeners(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "LISTENERS", 1)

    async def work(hub: Hub, source: Source) -> None:
        async with aclosing(hub.listen(Selection())) as stream:
            await lines(stream)
            with pytest.raises(TooMany, match="end one of them"):
                await anext(hub.listen(Selection()))

    run(work)


def test_a_listener_that_does_not_read_keeps_a_bounded_number() -> None:
    async def main() -> None:
        now = 0.0

        def clock() -> float:
            nonlocal now
            now += 0.01
            return now

        listener = Listener(Selection(rate=20_000), clock)
        for _ in range(trace.WAITING + 7):
            listener.offer(Event(0.0, Kind.DNS, "tcp", "pass"))
        assert listener.left_out == 7
        told = 0
        while chunk := listener.take():
            told += chunk.count(b"\n")
            assert chunk.count(b"\n") <= trace.CHUNK
        assert told == trace.WAITING

    asyncio.run(main())


def test_the_hub_counts_who_listens_and_what_was_ever_left_out() -> None:
    async def work(hub: Hub, source: Source) -> None:
        source.left_out = 2
        assert (hub.listening, hub.left_out) == (0, 2)
        async with aclosing(hub.listen(Selection(rate=3))) as stream:
            await lines(stream)
            assert hub.listening == 1
            for number in range(8):
                source.tell(str(number))
            told = len(await lines(stream))
            assert hub.left_out == 2 + 8 - told
        assert (hub.listening, hub.left_out) == (0, 2 + 8 - told)

    run(work)
