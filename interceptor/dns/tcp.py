"""TCP/53: mesh names are answered, everything else is relayed to the chosen server.

A client's connection arrives by REDIRECT, or by an alias of its server (see
``alias``). Its messages are taken one by one; those that are not ours go on,
byte for byte, over one connection of ours to the server that the client meant,
which is opened by the first of them only. Replies may overtake each other (RFC
7766 §6.2.1.1), but never tear each other apart.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

from interceptor.dns import framing
from interceptor.dns.note import Note, Noted
from interceptor.dns.responder import Responder
from interceptor.host import serving, share

MAXIMUM_CONNECTIONS = 512
SPARE_FILES = 64
IDLE_S = 30.0  # a connection without any message or relayed byte
MESSAGE_S = 10.0  # from a message's first byte to its last: nobody drips
CONNECT_S = 10.0

DNS_PORT = 53
_SO_ORIGINAL_DST = 80  # linux/netfilter_ipv4.h; the same number in netfilter_ipv6/ip6_tables.h
_SOL_IP, _SOL_IPV6 = 0, 41

ZONE_QUERIES = 16  # of forward zones that one connection has under way

Ask = Callable[[bytes], Awaitable[bytes]]
Place = tuple[str, int] | tuple[str, int, int, int]


class Server:
    """Listens on loopback. ``mark`` is set on our connections, so that they are not captured.
    ``meant`` gives the server that a local address is an alias of, None where it is none.

    ``has_room`` is false while no further connection should be steered here: those then
    go to their server directly, which is better than being refused by us.
    """

    def __init__(
        self,
        responder: Responder,
        mark: int,
        meant: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.responder = responder
        self.meant = meant
        self.ask: Ask | None = None
        """Gives the replies to queries of forward zones."""
        self.note: Note | None = None
        self._mark = mark
        self._servers: list[asyncio.Server] = []
        self._open: dict[asyncio.Task[None], Connection] = {}

    @property
    def has_room(self) -> bool:
        return bool(self._servers) and len(self._open) < _maximum()

    def watch(self, note: Note | None) -> None:
        """Tell each query to ``note`` from now on; None: to nobody."""
        self.note = note

    async def listen(self, port: int) -> None:
        """Listen on 127.0.0.1 and, where the host has it, ::1. OSError if the port is taken."""
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            try:
                listener = serving.bind_tcp(host, port)
                self._servers.append(await serving.serve_streams(self._accept, listener))
            except OSError as error:
                # A host without IPv6 has no ::1.
                if family is socket.AF_INET or error.errno == errno.EADDRINUSE:
                    raise

    async def close(self, patience_s: float = 0.0) -> None:
        """Stop listening, and end every connection: those that wait for an answer once they have
        it, or after ``patience_s``."""
        servers, self._servers = self._servers, []  # from here on nobody is steered here
        for server in servers:
            await serving.accept_waiting(server)
            server.close()
        waiting = [asyncio.create_task(each.quiet.wait()) for each in self._open.values()]
        if waiting:
            for late in (await asyncio.wait(waiting, timeout=patience_s))[1]:
                late.cancel()
        for task in tuple(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._open) >= _maximum():
            self.counts["tcp-refused"] += 1
            writer.transport.abort()
            return
        self._open[task] = one = Connection(self, reader, writer, self._mark)
        self.counts["tcp-connections"] += 1
        try:
            await one.serve()
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            self.counts["tcp-" + type(error).__name__] += 1
            framing.reset(writer)
        except asyncio.CancelledError:
            framing.reset(writer)
        finally:
            self._open.pop(task).quiet.set()
            writer.close()


class Connection:
    """One client, and the server behind it once there is something to relay."""

    def __init__(
        self,
        server: Server,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        mark: int,
    ) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._mark = mark
        self._upstream: asyncio.StreamWriter | None = None
        self._back: asyncio.Task[None] | None = None
        self._zoned: set[asyncio.Task[None]] = set()
        self._passed = 0  # messages that went on to the server
        self._relayed = 0  # messages and chunks that came back: a life sign of the other side
        self.quiet = asyncio.Event()
        """Set while the client has asked and waits for no answer."""

    async def serve(self) -> None:
        """Until both directions have ended. OSError and TimeoutError where it went wrong."""
        try:
            while message := await self._next():
                await self._take(message)
            if self._zoned:
                await asyncio.wait(self._zoned)
            if self._upstream is not None and self._back is not None:
                self._upstream.write_eof()
                await self._drain(self._back)
            self._writer.write_eof()
        finally:
            for task in self._zoned:
                task.cancel()
            if self._upstream is not None:
                self._upstream.close()  # first: the wait below may be cancelled
            if self._back is not None:
                self._back.cancel()
                await asyncio.gather(self._back, return_exceptions=True)

    async def _drain(self, back: asyncio.Task[None]) -> None:
        """What the server still has to say to a client that has finished asking."""
        while not back.done():
            seen = self._relayed
            await asyncio.wait({back}, timeout=IDLE_S)
            if not back.done() and seen == self._relayed:
                raise TimeoutError("the server neither answers nor closes")
        back.result()

    async def _take(self, message: bytes) -> None:
        """Answer or relay one message, its length in front (cut short: the client's last)."""
        note = self._server.note
        noted = None if note is None else self._begin(note, message)
        answer = self._server.responder.respond(message[2:]) if framing.is_whole(message) else None
        if note is not None and noted is not None:
            note.end(noted, answer)
        if answer is not None:
            await framing.send(self._writer, len(answer).to_bytes(2, "big") + answer)
            self._rest()
            return
        ask = self._server.ask if framing.is_whole(message) else None
        if ask is not None and self._server.responder.forwards(message[2:]):
            return await self._forward(ask, message[2:])
        if self._upstream is None:
            reader, self._upstream = await self._dial()
            self._back = asyncio.create_task(self._relay_back(reader))
        self._passed += 1
        self.quiet.clear()
        await framing.send(self._upstream, message)

    async def _forward(self, ask: Ask, message: bytes) -> None:
        """Have one query answered by its zone's servers, while the client may go on asking."""
        while len(self._zoned) >= ZONE_QUERIES:
            await asyncio.wait(self._zoned, return_when=asyncio.FIRST_COMPLETED)
        self._passed += 1
        self.quiet.clear()
        self._zoned.add(task := asyncio.create_task(self._bring(ask, message)))
        task.add_done_callback(self._zoned.discard)

    async def _bring(self, ask: Ask, message: bytes) -> None:
        reply = await ask(message)
        with suppress(OSError, TimeoutError):  # the client is gone, which `serve` sees as well
            await framing.send(self._writer, len(reply).to_bytes(2, "big") + reply)
        self._relayed += 1
        self._rest()

    def _rest(self) -> None:
        if self._relayed >= self._passed:
            self.quiet.set()

    async def _next(self) -> bytes:
        """The client's next message with its length; empty at the end; what there is of it
        where the client ends in the middle. TimeoutError if it is idle or drips."""
        while True:
            seen = self._relayed
            if self._back is not None and self._back.done():
                self._back.result()
                return b""
            first = asyncio.ensure_future(self._reader.read(1))
            waiting = {first} if self._back is None else {first, self._back}
            done, _ = await asyncio.wait(
                waiting, timeout=IDLE_S, return_when=asyncio.FIRST_COMPLETED
            )
            if not first.done():
                first.cancel()
                await asyncio.wait({first})
            if not first.cancelled():
                async with asyncio.timeout(MESSAGE_S):
                    return await framing.message(self._reader, first.result())
            if not done and seen == self._relayed:
                raise TimeoutError("idle")

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to where the client meant to go."""
        client = self._writer.get_extra_info("socket")
        target = self._target(client)
        if target[:2] == self._writer.get_extra_info("sockname")[:2]:
            raise ConnectionRefusedError("connected to us outright: there is no server behind")
        upstream = socket.socket(client.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            upstream.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, self._mark)
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(CONNECT_S):
                await loop.sock_connect(upstream, target)
            reader, writer = await asyncio.open_connection(sock=upstream)
        except BaseException:
            upstream.close()
            raise
        self._server.counts["tcp-relayed"] += 1
        return reader, writer

    def _target(self, client: socket.socket) -> Place:
        host, port, *rest = self._writer.get_extra_info("sockname")
        meant = self._server.meant(host)
        if meant is None:
            return original_destination(client)
        if port != DNS_PORT:
            # Nobody is sent here so; somebody has made up the address to get past the sidecar,
            # as us and with our mark.
            raise ConnectionRefusedError(f"an alias of {meant}, but port {port} is not DNS")
        return (meant, port, 0, 0) if rest else (meant, port)

    def _begin(self, note: Note, message: bytes) -> Noted:
        source, source_port, *_ = self._writer.get_extra_info("peername")
        host, port, *_ = self._writer.get_extra_info("sockname")
        destination: tuple[str, int] = host, port
        with suppress(OSError):
            destination = self._target(self._writer.get_extra_info("socket"))[:2]
        # By way of an alias the client's socket is connected to that, else to its server.
        remote = destination if self._server.meant(host) is None else (host, port)
        return note.begin_message((source, source_port, *destination), message[2:], remote)

    async def _relay_back(self, reader: asyncio.StreamReader) -> None:
        """Whole messages, so that an answer of ours never lands within one."""
        while message := await framing.message(reader):
            self._relayed += 1
            await framing.send(self._writer, message)
            self._rest()


def original_destination(client: socket.socket) -> Place:
    """Where a redirected connection was meant to go. OSError where conntrack knows nothing."""
    if client.family == socket.AF_INET:
        data = client.getsockopt(_SOL_IP, _SO_ORIGINAL_DST, 16)
        return socket.inet_ntop(socket.AF_INET, data[4:8]), int.from_bytes(data[2:4], "big")
    data = client.getsockopt(_SOL_IPV6, _SO_ORIGINAL_DST, 28)
    (scope,) = struct.unpack_from("=I", data, 24)
    host = socket.inet_ntop(socket.AF_INET6, data[8:24])
    return host, int.from_bytes(data[2:4], "big"), 0, scope


def _maximum() -> int:
    """How many clients there may be: each takes two descriptors, and other things take some."""
    return min(MAXIMUM_CONNECTIONS, max(1, (share.files() - SPARE_FILES) // 2))
