"""Queries of forward zones: sent to the zone's servers, the answers brought back.

The client's message goes out as it is, from a socket of its own (so with a port that the
kernel chose at random) and under a random id; what comes back counts only from that server,
with that id and that question. There is no cache. Servers are asked in their order, one after
another; one that fails is asked last for a while. What no server answers within BUDGET_S is
SERVFAIL, as a resolver would say: the client's own resolver is not asked, for it would say that
the name does not exist, and learn it.

Our sockets bear the agent's mark and are never captured. Should a zone's server send the same
question back to us, by way of a resolver that is captured, then the SAME-th of them is refused.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from interceptor.dns import wire
from interceptor.mesh.answer import Answers
from interceptor.mesh.name import zone_of

BUDGET_S = 4.0  # a stub waits for 5 s (resolv.conf(5), timeout)
ATTEMPT_S = 1.3  # for one server, or as much less as lets each have its turn
REST_S, LONGEST_REST_S = 1.0, 30.0  # doubled with each failure
IN_FLIGHT = 256  # each takes a descriptor
SAME = 16  # times one question in flight
DNS_PORT = 53
_LARGEST = 65535
_SERVFAIL, _NOTIMP, _REFUSED = 2, 4, 5
_OPCODE, _RCODE = 0x7800, 0x000F


@dataclass(slots=True)
class _Rest:
    until_s: float
    length_s: float


class Rests:
    """Which servers failed lately."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._by_server: dict[str, _Rest] = {}

    def order(self, servers: tuple[str, ...]) -> list[str]:
        """The servers in the order to ask them in: those that rest come last."""
        now = self._clock()
        return sorted(servers, key=lambda server: max(0.0, self._until(server) - now))

    def failed(self, server: str) -> None:
        known = self._by_server.get(server)
        length_s = min(known.length_s * 2, LONGEST_REST_S) if known else REST_S
        self._by_server[server] = _Rest(self._clock() + length_s, length_s)

    def answered(self, server: str) -> None:
        self._by_server.pop(server, None)

    def _until(self, server: str) -> float:
        known = self._by_server.get(server)
        return known.until_s if known else 0.0


class Forwarder:
    """``answers`` gives the table of now. All methods are the loop's."""

    def __init__(self, mark: int, answers: Callable[[], Answers]) -> None:
        self.counts: Counter[str] = Counter()
        self._mark = mark
        self._answers = answers
        self._rests = Rests()
        self._asked: Counter[bytes] = Counter()  # questions in flight, without their ids

    async def ask(self, message: bytes, *, is_stream: bool = False) -> bytes:
        """The reply to a query of a forward zone, over UDP or TCP; SERVFAIL where there is none.
        ValueError for a message that is no plain query."""
        question = wire.parse(message)
        if not isinstance(question, wire.Question):
            raise ValueError(f"not a plain query: {question.value}")
        key = message[2:]
        if self._asked.total() >= IN_FLIGHT or self._asked[key] >= SAME:
            self.counts["forward-full"] += 1
            return fail(message, question)
        self._asked[key] += 1
        try:
            _, servers = zone_of(question.name, self._answers().locale.forward_zones)
            return await self._ask(message, question, servers, is_stream)
        finally:
            self._asked[key] -= 1
            if not self._asked[key]:
                del self._asked[key]

    async def _ask(
        self, message: bytes, question: wire.Question, servers: tuple[str, ...], is_stream: bool
    ) -> bytes:
        loop = asyncio.get_running_loop()
        end_s = loop.time() + BUDGET_S
        attempt_s = min(ATTEMPT_S, BUDGET_S / max(1, len(servers)))
        exchange = self._over_tcp if is_stream else self._over_udp
        waiting = deque(self._rests.order(servers))
        refusal = b""
        while waiting and (left_s := end_s - loop.time()) > 0:
            server = waiting.popleft()
            self.counts["forward-asked"] += 1
            try:
                async with asyncio.timeout(min(attempt_s, left_s)):
                    reply = await exchange(server, message, question)
            except TimeoutError:
                if not refusal:
                    waiting.append(server)  # the question or its answer may have been lost
            except (OSError, asyncio.IncompleteReadError):
                self.counts["forward-unreachable"] += 1
            else:
                if reply[3] & _RCODE not in (_SERVFAIL, _NOTIMP, _REFUSED):
                    self._rests.answered(server)
                    self.counts["forward-answered"] += 1
                    return reply
                refusal = reply  # it lives; but another one may know better
                continue
            self._rests.failed(server)
        self.counts["forward-failed"] += 1
        return refusal or fail(message, question)

    async def _over_udp(self, server: str, message: bytes, question: wire.Question) -> bytes:
        """OSError where the server cannot be reached."""
        loop = asyncio.get_running_loop()
        asked = secrets.token_bytes(2) + message[2:]
        with await self._connect(server, socket.SOCK_DGRAM) as ours:
            await loop.sock_sendall(ours, asked)
            while True:
                reply = read(await loop.sock_recv(ours, _LARGEST), asked, question)
                if reply is not None:
                    return message[:2] + reply[2:]
                self.counts["forward-stray"] += 1

    async def _over_tcp(self, server: str, message: bytes, question: wire.Question) -> bytes:
        """OSError and IncompleteReadError where the server cannot be reached, or ends early."""
        asked = secrets.token_bytes(2) + message[2:]
        ours = await self._connect(server, socket.SOCK_STREAM)
        reader, writer = await asyncio.open_connection(sock=ours)
        try:
            writer.write(len(asked).to_bytes(2, "big") + asked)
            while True:
                size = int.from_bytes(await reader.readexactly(2), "big")
                reply = read(await reader.readexactly(size), asked, question)
                if reply is not None:
                    return message[:2] + reply[2:]
                self.counts["forward-stray"] += 1
        finally:
            writer.transport.abort()

    async def _connect(self, server: str, kind: socket.SocketKind) -> socket.socket:
        loop = asyncio.get_running_loop()
        family, _, _, _, place = socket.getaddrinfo(
            server, DNS_PORT, type=kind, flags=socket.AI_NUMERICHOST
        )[0]
        ours = socket.socket(family, kind | socket.SOCK_NONBLOCK)
        try:
            if self._mark:  # even none takes CAP_NET_ADMIN to set
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, self._mark)
            await loop.sock_connect(ours, place)
        except BaseException:
            ours.close()
            raise
        return ours


def read(reply: bytes, asked: bytes, question: wire.Question) -> bytes | None:
    """The reply to ``asked`` with the question's own bytes; None where it is none to it. Names
    are compared without their case, which some servers do not keep."""
    if len(reply) < question.end or reply[:2] != asked[:2]:
        return None
    _, flags, questions, _, _, _ = wire.HEADER.unpack_from(reply)
    named = question.end - 4
    if (
        not flags & wire.FLAG_QR
        or flags & _OPCODE
        or questions != 1
        or reply[12:named].lower() != asked[12:named].lower()
        or reply[named : question.end] != asked[named : question.end]
    ):
        return None
    return reply[:12] + asked[12 : question.end] + reply[question.end :]


def fail(message: bytes, question: wire.Question) -> bytes:
    """SERVFAIL."""
    return _empty(message, question, _SERVFAIL)


def truncate(message: bytes, reply: bytes) -> bytes:
    """The empty form of a reply that finds no way: ask again over TCP. ValueError for a message
    that is no plain query."""
    question = wire.parse(message)
    if not isinstance(question, wire.Question):
        raise ValueError(f"not a plain query: {question.value}")
    return _empty(message, question, wire.FLAG_TC | reply[3] & _RCODE)


def _empty(message: bytes, question: wire.Question, more: int) -> bytes:
    kept = question.flags & (wire.FLAG_RD | wire.FLAG_CD)
    is_edns = question.edns_version >= 0
    flags = wire.FLAG_QR | wire.FLAG_RA | kept | more
    head = message[:2] + wire.HEADER.pack(0, flags, 1, 0, 0, is_edns)[2:]
    return head + message[12 : question.end] + (wire.opt(question.do) if is_edns else b"")
