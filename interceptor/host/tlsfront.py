"""TLS in front of a gRPC server on a Unix socket: client certificates that may be missing.

grpc's Python server asks each client for a certificate or none; an authority must take both, the
one that has a certificate and the one that comes for its first. Here OpenSSL asks, and what it has
verified is known by the path that this side of the Unix socket is bound to, in a folder of root's.
New connections have the certificates of the moment, so that none ends when they change.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

from interceptor.errors import InterceptorError
from interceptor.host.quota import Quota

HANDSHAKE_S = 10.0
GOODBYE_S = 1.0
MOST, MOST_EACH = 512, 64  # connections at one time: the next waits; of one address: it goes
IDLE_S = 120.0  # without a byte from the client; gRPC's keepalive is quicker
BYTES = 1 << 20  # from one client in one connection: some 500 requests, and no flood
BURST, PER_S = 60, 5.0  # connections from one address
CHUNK = 16 << 10
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2; 1.3 has no weak ones
BACKLOG = 128
_log = logging.getLogger(__name__)


class Front:
    """Listens at one address, from `open` to `close`."""

    def __init__(self, target: Path, make_context: Callable[[], ssl.SSLContext]) -> None:
        """``target`` is the server's socket; next to it stand those of the connections, so its
        folder must be closed to others. ``make_context`` is asked for each connection."""
        self._target, self._make_context = target, make_context
        self._certificates: dict[str, bytes] = {}
        self._numbers = itertools.count(1)
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(MOST)
        self._quota = Quota(BURST, PER_S)
        self._open: Counter[str] = Counter()  # connections by the client's address

    async def open(self, host: str, port: int) -> int:
        """Listen; port 0 is any. Returns the port. Raises InterceptorError where it is taken."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if host == "::":  # everywhere, whatever net.ipv6.bindv6only says
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listener.bind((host, port))
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            raise InterceptorError(f"cannot listen at {host} port {port}: {error}") from error
        listener.setblocking(False)
        self._listener = listener
        self._accepting = asyncio.create_task(self._accept(listener), name="tls front")
        bound: tuple[str, int] = listener.getsockname()[:2]
        return bound[1]

    def certificate(self, address: str) -> bytes:
        """The verified certificate (PEM) of the client whose connection the server sees coming
        from ``address``; empty where it showed none."""
        return self._certificates.get(address.removeprefix("unix:"), b"")

    async def close(self) -> None:
        """End every connection."""
        ending = [task for task in (self._accepting, *self._tasks) if task is not None]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        if self._listener is not None:
            self._listener.close()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._room.acquire()
            try:
                client, address = await loop.sock_accept(listener)
            except OSError:  # out of descriptors: others must end first
                self._room.release()
                await asyncio.sleep(0.1)
                continue
            except BaseException:
                self._room.release()
                raise
            host = str(address[0])
            if self._open[host] >= MOST_EACH or not self._quota.take(host):
                client.close()
                self._room.release()
                continue
            self._open[host] += 1
            task = asyncio.create_task(self._serve(client))
            self._tasks.add(task)
            task.add_done_callback(partial(self._ended, host))

    def _ended(self, host: str, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._room.release()
        self._open[host] -= 1
        if not self._open[host]:
            del self._open[host]
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("a connection ended by a fault of ours", exc_info=error)

    async def _serve(self, client: socket.socket) -> None:
        """One client from its handshake to its end."""
        try:
            reader, writer = await _shake_hands(client, self._make_context())
        except (OSError, InterceptorError) as error:  # of TLS, too
            client.close()
            _log.info("a client was not let in: %s", str(error) or type(error).__name__)
            return
        secured = writer.get_extra_info("ssl_object")
        shown = secured.getpeercert(binary_form=True) if secured is not None else None
        path = self._target.with_name(f"{self._target.name}.{next(self._numbers)}")
        if shown:
            self._certificates[str(path)] = ssl.DER_cert_to_PEM_cert(shown).encode()
        try:
            await self._carry(reader, writer, path)
            await _part(writer)
        finally:
            self._certificates.pop(str(path), None)
            path.unlink(missing_ok=True)
            with contextlib.suppress(AttributeError):  # of a transport that has ended already
                writer.transport.abort()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: Path
    ) -> None:
        """Bytes both ways until either side ends."""
        inner = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            inner.setblocking(False)
            path.unlink(missing_ok=True)
            inner.bind(str(path))
            await asyncio.get_running_loop().sock_connect(inner, str(self._target))
            source, sink = await asyncio.open_unix_connection(sock=inner)
        except OSError as error:
            inner.close()
            _log.warning("the server behind TLS does not answer: %s", error)
            return
        ways = [
            asyncio.create_task(_pump_in(reader, sink)),
            asyncio.create_task(_pump_out(source, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            sink.close()


async def _shake_hands(
    client: socket.socket, context: ssl.SSLContext
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(CHUNK)
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await loop.connect_accepted_socket(
        lambda: protocol, client, ssl=context, ssl_handshake_timeout=HANDSHAKE_S
    )
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def _part(writer: asyncio.StreamWriter) -> None:
    """Say goodbye, and wait a moment for the answer."""
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        await asyncio.wait_for(writer.wait_closed(), GOODBYE_S)


async def _pump_in(client: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
    """Until the client ends, has said nothing for `IDLE_S`, or has sent more than `BYTES`."""
    carried = 0
    with contextlib.suppress(OSError):  # TimeoutError is one
        while data := await asyncio.wait_for(client.read(CHUNK), IDLE_S):
            carried += len(data)
            if carried > BYTES:
                return
            server.write(data)
            await server.drain()


async def _pump_out(server: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await server.read(CHUNK):
            client.write(data)
            await client.drain()


def make_context(certificate: Path, key: Path, roots: str) -> ssl.SSLContext:
    """A server's: TLS 1.2 or later for HTTP/2; a client's certificate is asked for, and checked
    against ``roots`` (PEM) where it has one. Raises OSError, ssl.SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(["h2"])
    context.load_cert_chain(certificate, key)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(cadata=roots)
    return context
