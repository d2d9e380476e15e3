"""A zone's servers, asked over real sockets: which answer counts, who is next, when to stop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, closing, suppress
from typing import TypeVar

import pytest
from dnslib import QTYPE, RCODE, RR, DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from interceptor.dns import forward, wire
from interceptor.dns.forward import Forwarder, Rests
from interceptor.mesh.answer import Answers
from interceptor.mesh.model import Locale

ONE, TWO, THREE = "127.0.0.11", "127.0.0.12", "::1"
NAME = "a.zone.test"
T = TypeVar("T")
Act = Callable[[bytes], list[bytes]]
"""What a server sends for a query."""


def good(query: bytes) -> list[bytes]:
    record = DNSRecord.parse(query)
    return [bytes(record.replyZone(f"{record.q.qname} 60 A 192.0.2.1").pack())]


def coded(code: str) -> Act:
    def act(query: bytes) -> list[bytes]:
        reply = DNSRecord.parse(query).reply()
        reply.header.rcode = getattr(RCODE, code)
        return [bytes(reply.pack())]

    return act


def silent(_query: bytes) -> list[bytes]:
    return []


class Server:
    """A name server of few words on one address, UDP and TCP, until `close`."""

    def __init__(self, address: str, port: int, act: Act) -> None:
        self.address, self.act, self.asked = address, act, list[tuple[bytes, tuple[str, int]]]()
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.udp = socket.socket(family, socket.SOCK_DGRAM)
        self.udp.bind((address, port))
        self.udp.setblocking(False)

    async def serve(self) -> asyncio.AbstractServer:
        asyncio.get_running_loop().add_reader(self.udp, self._take)
        port = self.udp.getsockname()[1]
        return await asyncio.start_server(self._stream, self.address, port)

    def _take(self) -> None:
        query, client = self.udp.recvfrom(4096)
        self.asked.append((query, client[:2]))
        for reply in self.act(query):
            self.udp.sendto(reply, client)

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(OSError, asyncio.CancelledError):
            size = int.from_bytes(await reader.readexactly(2), "big")
            query = await reader.readexactly(size)
            self.asked.append((query, ("tcp", 0)))
            for reply in self.act(query):
                writer.write(len(reply).to_bytes(2, "big") + reply)
            await writer.drain()
            await reader.read()


class Bench:
    """A forwarder for ``zone.test``, and servers that tests put in place."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> None:
        with socket.socket() as probe:
            probe.bind((ONE, 0))
            self.port = int(probe.getsockname()[1])
        monkeypatch.setattr(forward, "DNS_PORT", self.port)
        self.servers: list[Server] = []
        self.zones: list[str] = []
        self._stack = stack
        self.forwarder = Forwarder(0, self._answers)

    def _answers(self) -> Answers:
        return Answers(Locale(forward_zones=(("zone.test", tuple(self.zones)), ("t", ("x",)))))

    def put(self, address: str, act: Act | None = good) -> Server | None:
        self.zones.append(address)
        if act is None:
            return None
        server = Server(address, self.port, act)
        self._stack.callback(server.udp.close)
        self.servers.append(server)
        return server

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        async def everything() -> T:
            listening = [await server.serve() for server in self.servers]
            try:
                return await work()
            finally:
                for server, listener in zip(self.servers, listening, strict=True):
                    asyncio.get_running_loop().remove_reader(server.udp)
                    listener.close()
                await asyncio.sleep(0.01)  # a stream that was reset is closed on both sides

        return asyncio.run(everything())

    def ask(self, query: bytes, *, is_stream: bool = False) -> DNSRecord:
        reply = self.run(lambda: self.forwarder.ask(query, is_stream=is_stream))
        assert reply[:2] == query[:2]
        return DNSRecord.parse(reply)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(monkeypatch, stack)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "ATTEMPT_S", 0.1)
    monkeypatch.setattr(forward, "BUDGET_S", 0.5)


def question(name: str = NAME, kind: str = "A") -> bytes:
    return bytes(DNSRecord.question(name, kind).pack())


@pytest.mark.parametrize("address", [ONE, THREE])
@pytest.mark.parametrize("is_stream", [False, True])
def test_the_message_goes_as_it_is_under_an_id_of_ours(
    bench: Bench, address: str, is_stream: bool
) -> None:
    server = bench.put(address)
    assert server is not None
    query = question("A.zOnE.test")
    seen = set()
    for _ in range(3):
        reply = bench.ask(query, is_stream=is_stream)
        assert [str(rr.rdata) for rr in reply.rr] == ["192.0.2.1"]
        assert str(reply.q.qname) == "A.zOnE.test."
        seen.add(server.asked[-1][0][:2])
    assert {asked[2:] for asked, _ in server.asked} == {query[2:]}
    assert len(seen) > 1, "one id for all"


def test_each_query_has_a_port_of_its_own(bench: Bench) -> None:
    server = bench.put(ONE)
    assert server is not None
    for _ in range(4):
        bench.ask(question())
    assert len({client for _, client in server.asked}) > 1


def altered(place: int, value: int) -> Act:
    def act(query: bytes) -> list[bytes]:
        (right,) = good(query)
        wrong = bytearray(right)
        wrong[place] ^= value
        return [bytes(wrong)]

    return act


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "act",
    [
        altered(0, 1),  # another id
        altered(2, 0x80),  # a query, not a response
        altered(13, 2),  # another name
        altered(12 + len(NAME) + 3, 1),  # another type
        altered(5, 1),  # no question
        lambda query: [query[:10]],
        lambda _query: [b""],
    ],
)
def test_what_is_no_answer_to_the_question_does_not_count(bench: Bench, act: Act) -> None:
    bench.put(ONE, act)
    assert bench.ask(question()).header.rcode == RCODE.SERVFAIL
    assert bench.forwarder.counts["forward-stray"] >= 1


def test_a_stray_answer_is_waited_past(bench: Bench) -> None:
    bench.put(ONE, lambda query: [*altered(1, 1)(query), *good(query)])
    assert len(bench.ask(question()).rr) == 1


def test_names_are_compared_without_case_and_the_clients_is_kept(bench: Bench) -> None:
    bench.put(ONE, lambda query: good(query.lower()))
    reply = bench.ask(question("A.ZONE.test"))
    assert str(reply.q.qname) == "A.ZONE.test."


@pytest.mark.parametrize("code", ["SERVFAIL", "REFUSED", "NOTIMP"])
def test_a_server_that_will_not_is_followed_by_the_next(bench: Bench, code: str) -> None:
    bench.put(ONE, coded(code))
    bench.put(TWO)
    assert len(bench.ask(question()).rr) == 1


def test_what_the_only_server_says_is_what_the_client_gets(bench: Bench) -> None:
    bench.put(ONE, coded("REFUSED"))
    assert bench.ask(question()).header.rcode == RCODE.REFUSED
    bench.servers[0].act = coded("NXDOMAIN")
    assert bench.ask(question()).header.rcode == RCODE.NXDOMAIN


def test_a_server_that_is_not_there_costs_no_time(bench: Bench) -> None:
    bench.put(ONE, None)
    bench.put(TWO)
    assert len(bench.ask(question()).rr) == 1
    assert bench.forwarder.counts["forward-unreachable"] == 1


@pytest.mark.usefixtures("impatient")
def test_a_silent_server_is_asked_last_for_a_while(bench: Bench) -> None:
    first = bench.put(ONE, silent)
    bench.put(TWO)
    assert first is not None
    for _ in range(3):
        assert len(bench.ask(question()).rr) == 1
    assert len(first.asked) == 1


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("is_stream", [False, True])
def test_a_lost_question_is_repeated_until_the_time_is_up(bench: Bench, is_stream: bool) -> None:
    server = bench.put(ONE, silent)
    assert server is not None
    reply = bench.ask(question(kind="AAAA"), is_stream=is_stream)
    assert (reply.header.rcode, reply.rr, reply.header.ra) == (RCODE.SERVFAIL, [], 1)
    assert QTYPE[reply.q.qtype] == "AAAA"
    assert len(server.asked) > 1


@pytest.mark.usefixtures("impatient")
def test_one_question_is_not_asked_without_end_at_a_time(bench: Bench) -> None:
    """A loop by way of the zone's own server ends here."""
    server = bench.put(ONE, silent)
    assert server is not None
    query = question()

    async def many() -> list[bytes]:
        asked = [bench.forwarder.ask(query) for _ in range(forward.SAME + 5)]
        return await asyncio.gather(*asked)

    replies = bench.run(many)
    assert {DNSRecord.parse(reply).header.rcode for reply in replies} == {RCODE.SERVFAIL}
    assert bench.forwarder.counts["forward-full"] == 5
    assert not bench.forwarder._asked


@pytest.mark.usefixtures("impatient")
def test_there_is_a_limit_to_what_is_in_flight(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.put(ONE, silent)
    monkeypatch.setattr(forward, "IN_FLIGHT", 3)

    async def many() -> None:
        await asyncio.gather(*(bench.forwarder.ask(question(f"{n}.zone.test")) for n in range(9)))

    bench.run(many)
    assert bench.forwarder.counts["forward-full"] == 6


def test_rests_are_doubled_and_end_with_an_answer() -> None:
    now = 0.0
    rests = Rests(lambda: now)
    rests.failed(ONE)
    assert rests.order((ONE, TWO)) == [TWO, ONE]
    now = 1.0
    assert rests.order((ONE, TWO)) == [ONE, TWO]
    rests.failed(ONE)
    now = 2.5
    assert rests.order((ONE, TWO)) == [TWO, ONE]
    rests.answered(ONE)
    assert rests.order((ONE, TWO)) == [ONE, TWO]
    for _ in range(20):
        rests.failed(ONE)
    now += forward.LONGEST_REST_S
    assert rests.order((ONE, TWO)) == [ONE, TWO]


def test_what_is_too_large_for_its_way_is_said_to_be_cut() -> None:
    query = DNSRecord.question(NAME)
    reply = query.reply()
    reply.add_answer(*RR.fromZone(f"{NAME} A 192.0.2.1"))
    cut = DNSRecord.parse(forward.truncate(bytes(query.pack()), bytes(reply.pack())))
    assert (cut.header.tc, cut.header.qr, cut.rr, cut.header.id) == (1, 1, [], query.header.id)
    assert cut.q == query.q
    with pytest.raises(ValueError, match="not a plain query"):
        forward.truncate(b"x", b"")
    assert wire.parse(bytes(query.pack()))


@given(st.binary(max_size=80), st.integers(0, 60))
def test_whatever_a_server_sends_is_a_reply_or_none(noise: bytes, kept: int) -> None:
    asked = question("A.zone.test")
    parsed = wire.parse(asked)
    assert isinstance(parsed, wire.Question)
    (right,) = good(asked)
    for sent in (noise, right[:kept] + noise, noise + right[kept:]):
        found = forward.read(sent, asked, parsed)
        if found is not None:
            assert sent[:2] == asked[:2]
            assert found[12 : parsed.end] == asked[12 : parsed.end]
            assert len(found) == len(sent)
