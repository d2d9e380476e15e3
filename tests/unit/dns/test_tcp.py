"""TCP/53 on loopback, with a scripted server behind. Redirects are tests/netns/dns."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import pytest
from dnslib import DNSRecord

from interceptor.dns import tcp
from interceptor.dns.note import Note, Noted
from interceptor.dns.responder import TCP_LIMIT, Responder
from interceptor.dns.tcp import Connection, Server
from interceptor.mesh.answer import Answers
from interceptor.mesh.model import Locale

Query = Callable[..., bytes]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
T = TypeVar("T")


def framed(message: bytes) -> bytes:
    return len(message).to_bytes(2, "big") + message


async def message_from(reader: asyncio.StreamReader) -> bytes:
    size = int.from_bytes(await reader.readexactly(2), "big")
    return await reader.readexactly(size)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Bench:
    """Our server, and behind it ``upstream`` (None: nobody listens there)."""

    def __init__(self, answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server = Server(Responder(answers, random.random, TCP_LIMIT, is_udp=False), 0)
        self.dialled = 0
        self._serving: list[asyncio.Task[None]] = []
        self._behind = free_port()
        self._monkeypatch = monkeypatch

    async def _dial(self) -> Streams:
        self.dialled += 1
        return await asyncio.open_connection("127.0.0.1", self._behind)

    def run(self, upstream: Serve | None, client: Callable[[Streams], Awaitable[T]]) -> T:
        async def everything() -> T:
            self._monkeypatch.setattr(Connection, "_dial", self._dial)
            behind = None
            if upstream is not None:
                serve = partial(self._upstream, upstream)
                behind = await asyncio.start_server(serve, "127.0.0.1", self._behind)
            port = free_port()
            await self.server.listen(port)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                async with asyncio.timeout(10):
                    return await client((reader, writer))
            finally:
                writer.close()
                await self.server.close()
                if behind is not None:
                    behind.close()
                await asyncio.gather(*self._serving, return_exceptions=True)
                await asyncio.sleep(0)

        return asyncio.run(everything())

    async def _upstream(
        self, serve: Serve, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.append(task)
        try:
            await serve(reader, writer)
        finally:
            writer.close()


@pytest.fixture
def bench(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(answers, monkeypatch)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends every byte back, and ends when the other side does."""
    while data := await reader.read(4096):
        writer.write(data)
        await writer.drain()
    writer.close()


def test_a_mesh_name_is_answered_whole_without_asking_anybody(bench: Bench, query: Query) -> None:
    async def client(streams: Streams) -> bytes:
        reader, writer = streams
        writer.write(framed(query("many.bookinfo")))
        return await message_from(reader)

    record = DNSRecord.parse(bench.run(None, client))
    assert (len(record.rr), record.header.tc) == (100, 0)
    assert bench.dialled == 0


def test_other_messages_go_byte_for_byte_over_one_connection(bench: Bench, query: Query) -> None:
    sent = [query("www.elsewhere.test"), b"", b"\0", b"no DNS at all", bytes(65535)]

    async def client(streams: Streams) -> list[bytes]:
        reader, writer = streams
        for message in sent:
            writer.write(framed(message))
        return [await message_from(reader) for _ in sent]

    assert bench.run(echo, client) == sent
    assert bench.dialled == 1


def test_pipelined_messages_are_each_answered_whole(bench: Bench, query: Query) -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.readexactly(2 + len(other))
        for at in range(len(data)):
            writer.write(data[at : at + 1])
            await writer.drain()
            await asyncio.sleep(0.001)
        await reader.read()
        writer.close()

    other, ours = query("www.elsewhere.test"), query("v4.bookinfo")

    async def client(streams: Streams) -> list[bytes]:
        reader, writer = streams
        writer.write(framed(other))
        found = []
        for _ in range(20):
            writer.write(framed(ours))
            await asyncio.sleep(0.002)
        for _ in range(21):
            found.append(await message_from(reader))
        return found

    found = bench.run(slow, client)
    assert found.count(other) == 1
    assert sum(DNSRecord.parse(message).header.a for message in found if message != other) == 20


def test_a_message_in_single_bytes_is_understood(bench: Bench, query: Query) -> None:
    async def client(streams: Streams) -> bytes:
        reader, writer = streams
        for byte in framed(query("v4.bookinfo")):
            writer.write(bytes((byte,)))
            await writer.drain()
        return await message_from(reader)

    assert DNSRecord.parse(bench.run(None, client)).header.a == 1


def test_the_clients_end_reaches_the_server_and_its_last_words_the_client(
    bench: Bench, query: Query
) -> None:
    async def last_words(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.write(framed(b"last") + b"\0\x09cut")
        writer.close()

    async def client(streams: Streams) -> bytes:
        reader, writer = streams
        writer.write(framed(query("www.elsewhere.test")) + b"\0\x30half a mess")
        writer.write_eof()
        return await reader.read()

    assert bench.run(last_words, client) == framed(b"last") + b"\0\x09cut"


def test_a_client_that_ends_is_ended_politely(bench: Bench, query: Query) -> None:
    async def client(streams: Streams) -> bytes:
        reader, writer = streams
        writer.write(framed(query("v4.bookinfo")))
        writer.write_eof()
        return await reader.read()

    assert DNSRecord.parse(bench.run(None, client)[2:]).header.a == 1


def test_the_servers_end_ends_the_client(bench: Bench, query: Query) -> None:
    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await message_from(reader)
        writer.close()

    async def client(streams: Streams) -> bytes:
        reader, writer = streams
        writer.write(framed(query("www.elsewhere.test")))
        return await reader.read()

    assert bench.run(close, client) == b""


async def _ask_elsewhere(streams: Streams, message: bytes) -> bytes:
    reader, writer = streams
    writer.write(framed(message))
    return await reader.read()


def test_a_refusing_server_is_a_reset_for_the_client(bench: Bench, query: Query) -> None:
    with pytest.raises(ConnectionResetError):
        bench.run(None, lambda s: _ask_elsewhere(s, query("www.elsewhere.test")))
    assert bench.server.counts["tcp-ConnectionRefusedError"] == 1


def test_a_resetting_server_is_a_reset_for_the_client(bench: Bench, query: Query) -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await message_from(reader)
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("@ii", 1, 0))
        writer.transport.abort()

    with pytest.raises(ConnectionResetError):
        bench.run(reset, lambda s: _ask_elsewhere(s, query("www.elsewhere.test")))


@pytest.mark.parametrize("start", [b"", b"\0", b"\0\x30half"])
def test_idlers_and_drippers_are_let_go(
    bench: Bench, start: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp, "IDLE_S", 0.05)
    monkeypatch.setattr(tcp, "MESSAGE_S", 0.05)

    async def client(streams: Streams) -> bytes:
        reader, writer = streams
        writer.write(start)
        return await reader.read()

    with pytest.raises(ConnectionResetError):
        bench.run(None, client)
    assert bench.server.counts["tcp-TimeoutError"] == 1


def test_a_server_that_streams_keeps_its_client(
    bench: Bench, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp, "IDLE_S", 0.1)

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await message_from(reader)
        for _ in range(8):
            writer.write(framed(b"more"))
            await asyncio.sleep(0.04)
        writer.close()

    async def client(streams: Streams) -> bytes:
        return await _ask_elsewhere(streams, query("www.elsewhere.test"))

    assert bench.run(stream, client) == framed(b"more") * 8


def test_beyond_the_bound_nobody_is_steered_here(
    bench: Bench, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp, "MAXIMUM_CONNECTIONS", 1)
    assert not bench.server.has_room

    async def client(streams: Streams) -> tuple[bool, bytes]:
        reader, writer = streams
        writer.write(framed(query("v4.bookinfo")))
        await message_from(reader)
        room = bench.server.has_room
        port = writer.get_extra_info("peername")[1]
        other_reader, other = await asyncio.open_connection("127.0.0.1", port)
        rest = await other_reader.read()
        other.close()
        return room, rest

    assert bench.run(None, client) == (False, b"")
    assert bench.server.counts["tcp-refused"] == 1


def test_a_client_that_came_outright_has_no_server_behind(answers: Answers) -> None:
    """Without conntrack there is no original destination; with it, it is ourselves."""

    async def ask() -> bytes:
        server = Server(Responder(answers, random.random, TCP_LIMIT, is_udp=False), 0)
        port = free_port()
        await server.listen(port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(framed(bytes(12)))
        try:
            async with asyncio.timeout(5):
                return await reader.read()
        finally:
            writer.close()
            await server.close()

    with pytest.raises(ConnectionResetError):
        asyncio.run(ask())


def test_a_taken_port_is_said(answers: Answers) -> None:
    async def listen_twice() -> None:
        port = free_port()
        servers = [Server(Responder(answers, random.random, TCP_LIMIT), 0) for _ in range(2)]
        try:
            await servers[0].listen(port)
            await servers[1].listen(port)
        finally:
            for server in servers:
                await server.close()

    with pytest.raises(OSError, match="in use"):
        asyncio.run(listen_twice())


def test_an_alias_that_was_made_up_leads_to_no_other_port(answers: Answers, query: Query) -> None:
    """The relay is root's and bears our mark: it would pass by the sidecar and every rule."""

    async def everything() -> Counter[str]:
        server = Server(
            Responder(answers, random.random, TCP_LIMIT, is_udp=False), 0, lambda _: "127.0.0.1"
        )
        port = free_port()
        await server.listen(port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(framed(query("many.bookinfo")) + framed(query("www.elsewhere.test")))
        await message_from(reader)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        await server.close()
        return server.counts

    counts = asyncio.run(everything())
    assert counts["tcp-ConnectionRefusedError"] == 1
    assert counts["tcp-relayed"] == 0


def test_whoever_waits_for_an_answer_has_it_before_the_end(bench: Bench, query: Query) -> None:
    """One that has asked already, and one that is connected but not accepted yet."""
    asked = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        message = await message_from(reader)
        asked.set()
        await asyncio.sleep(0.2)
        writer.write(framed(message))
        await reader.read()

    async def client(streams: Streams) -> tuple[bytes, bytes, float]:
        reader, writer = streams
        writer.write(framed(query("www.other.test")))
        await asked.wait()
        with socket.create_connection(writer.get_extra_info("peername")[:2]) as late:
            late.sendall(framed(query("www.late.test")))
            late.setblocking(False)
            began_s = asyncio.get_running_loop().time()
            await bench.server.close(5)
            took_s = asyncio.get_running_loop().time() - began_s
            return await message_from(reader), late.recv(512)[2:], took_s

    first, second, took_s = bench.run(slow, client)
    assert b"\5other" in first
    assert b"\4late" in second
    assert 0.1 < took_s < 2


def test_the_end_waits_neither_for_idlers_nor_for_ever(bench: Bench, query: Query) -> None:
    asked = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await message_from(reader)
        asked.set()
        await reader.read()

    async def idle(streams: Streams) -> float:
        loop = asyncio.get_running_loop()
        reader, writer = streams
        writer.write(framed(query("reviews.bookinfo")))
        await message_from(reader)
        began_s = loop.time()
        await bench.server.close(5)
        return loop.time() - began_s

    async def ignored(streams: Streams) -> float:
        loop = asyncio.get_running_loop()
        streams[1].write(framed(query("www.other.test")))
        await asked.wait()
        began_s = loop.time()
        await bench.server.close(0.2)
        return loop.time() - began_s

    assert bench.run(None, idle) < 1
    assert 0.15 < bench.run(silent, ignored) < 2


def test_while_somebody_traces_each_message_is_told_with_its_client(
    bench: Bench, query: Query
) -> None:
    told: list[Noted] = []
    note = Note(told.append)
    bench.server.watch(note)
    sent = [query("v4.bookinfo"), query("www.elsewhere.test")]

    async def client(streams: Streams) -> tuple[str, int]:
        reader, writer = streams
        for message in sent:
            writer.write(framed(message))
            await message_from(reader)
        end: tuple[str, int] = writer.get_extra_info("sockname")
        return end

    end = bench.run(echo, client)
    note.close()
    assert [noted.query for noted in told] == sent
    assert [noted.answer is not None for noted in told] == [True, False]
    assert {noted.flow[:2] for noted in told} == {end}
    assert {noted.who.pid for noted in told} == {os.getpid()}


def test_a_forward_zones_names_are_asked_of_its_servers_while_others_are_relayed(
    monkeypatch: pytest.MonkeyPatch, query: Query
) -> None:
    zones = (("zone.test", ("192.0.2.53",)),)
    bench = Bench(Answers.build((), Locale(forward_zones=zones)), monkeypatch)
    names = [f"{n}.zone.test" for n in range(tcp.ZONE_QUERIES + 4)]
    at_once = most = 0

    async def ask(message: bytes) -> bytes:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.02)
        at_once -= 1
        return message + b"!"

    async def client(streams: Streams) -> set[bytes]:
        reader, writer = streams
        for name in names:
            writer.write(framed(query(name)))
        writer.write(framed(other))
        writer.write_eof()
        return {await message_from(reader) for _ in range(len(names) + 1)}

    other = query("www.elsewhere.test")
    bench.server.ask = ask
    found = bench.run(echo, client)
    assert other in found
    assert sum(message.endswith(b"!") for message in found) == len(names)
    assert most == tcp.ZONE_QUERIES
    assert bench.dialled == 1
