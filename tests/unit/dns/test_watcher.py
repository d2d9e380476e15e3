"""The worker's telling: on and off by its lease, bounded, and no cost in between."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from time import monotonic

import pytest
from scapy.layers.inet import IP, UDP
from scapy.packet import Raw

from interceptor.dns import frame, watcher
from interceptor.dns.frame import Kind, Seen
from interceptor.dns.note import Note
from interceptor.dns.responder import Responder
from interceptor.dns.watcher import Watcher
from interceptor.mesh.answer import Answers

Query = Callable[..., bytes]
NAME = "reviews.bookinfo.svc.cluster.local"


class Way:
    def __init__(self) -> None:
        self.note: Note | None = None

    @property
    def is_on(self) -> bool:
        return self.note is not None

    def watch(self, note: Note | None) -> None:
        self.note = note


class Bench:
    """A watcher whose daemon is the other end of ``reader``."""

    def __init__(self, answers: Answers, reader: asyncio.StreamReader) -> None:
        self.way = Way()
        self.responder = Responder(answers, random.random, 65000)
        self.watcher = Watcher([self.way], self.responder)
        self.reader = reader

    async def seen(self) -> Seen:
        async with asyncio.timeout(5):
            kind, value = await frame.receive(self.reader)
        assert kind is Kind.SEEN
        assert isinstance(value, Seen)
        return value

    def ask(self, query: bytes) -> None:
        note = self.way.note
        assert note is not None
        packet = bytes(IP(src="10.0.0.5", dst="10.0.0.53") / UDP(sport=9, dport=53) / Raw(query))
        noted = note.begin("nfqueue", packet, is_ours=False)
        answer = self.responder.respond(query)
        note.end(noted, answer and packet[:28] + answer)


def run(answers: Answers, work: Callable[[Bench, asyncio.StreamWriter], Awaitable[None]]) -> None:
    async def whole() -> None:
        served = asyncio.get_running_loop().create_future()
        server = await asyncio.start_server(
            lambda *streams: served.set_result(streams), "127.0.0.1", 0
        )
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        _, theirs = await served
        try:
            await work(Bench(answers, reader), theirs)
        finally:
            for each in (writer, theirs):
                each.close()
            server.close()

    asyncio.run(whole())


def test_a_lease_begins_with_a_sign_and_ends_by_itself(answers: Answers, query: Query) -> None:
    async def work(bench: Bench, writer: asyncio.StreamWriter) -> None:
        assert not bench.way.is_on
        bench.watcher.lease(monotonic() + 0.2, writer)
        assert await bench.seen() == Seen()
        bench.ask(query(NAME))
        (row,) = (await bench.seen()).rows
        assert (row.name, row.qtype, row.verdict, row.host) == (NAME, "A", "answer", NAME)
        assert row.flow == ("10.0.0.5", 9, "10.0.0.53", 53)
        await asyncio.sleep(0.3)
        assert not bench.way.is_on

    run(answers, work)


def test_a_lease_that_is_renewed_goes_on_and_one_that_is_given_up_ends_at_once(
    answers: Answers,
) -> None:
    async def work(bench: Bench, writer: asyncio.StreamWriter) -> None:
        bench.watcher.lease(monotonic() + 0.1, writer)
        note = bench.way.note
        bench.watcher.lease(monotonic() + 60, writer)
        await asyncio.sleep(0.2)
        assert bench.way.note is note
        bench.watcher.lease(0.0, writer)
        assert not bench.way.is_on
        bench.watcher.lease(0.0, writer)  # twice is as good
        bench.watcher.lease(monotonic() + 60, writer)
        assert bench.way.note not in (None, note)
        bench.watcher.close()

    run(answers, work)


def test_what_is_too_much_for_a_turn_is_counted(
    answers: Answers, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "NOTED", 3)

    async def work(bench: Bench, writer: asyncio.StreamWriter) -> None:
        bench.watcher.lease(monotonic() + 60, writer)
        await bench.seen()
        for _ in range(5):
            bench.ask(query(NAME))
        seen = await bench.seen()
        assert (seen.lost, len(seen.rows)) == (2, 3)
        bench.watcher.close()

    run(answers, work)


def test_a_daemon_that_does_not_read_is_told_no_more_and_how_much_that_was(
    answers: Answers, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(bench: Bench, writer: asyncio.StreamWriter) -> None:
        bench.watcher.lease(monotonic() + 60, writer)
        await bench.seen()
        monkeypatch.setattr(watcher, "UNREAD_BYTES", -1)
        bench.ask(query(NAME))
        await asyncio.sleep(0.2)
        monkeypatch.undo()
        bench.ask(query(NAME))
        seen = await bench.seen()
        assert (seen.lost, len(seen.rows)) == (1, 1)
        bench.watcher.close()

    run(answers, work)


def test_a_changed_table_gives_its_own_reasons(answers: Answers, query: Query) -> None:
    async def work(bench: Bench, writer: asyncio.StreamWriter) -> None:
        bench.watcher.lease(monotonic() + 60, writer)
        await bench.seen()
        bench.ask(query(NAME))
        assert (await bench.seen()).rows[0].verdict == "answer"
        bench.responder.adopt(Answers(answers.locale))
        bench.ask(query(NAME))
        (row,) = (await bench.seen()).rows
        assert (row.verdict, row.host) == ("pass", "")
        bench.watcher.close()

    run(answers, work)


def test_what_is_no_query_is_told_as_such(answers: Answers) -> None:
    async def work(bench: Bench, writer: asyncio.StreamWriter) -> None:
        bench.watcher.lease(monotonic() + 60, writer)
        await bench.seen()
        bench.ask(b"?")
        (row,) = (await bench.seen()).rows
        assert (row.name, row.verdict, row.why) == ("", "pass", "left alone: short")
        bench.watcher.close()

    run(answers, work)
