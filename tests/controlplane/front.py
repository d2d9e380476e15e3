"""TCP and TLS before gRPC: client certificates that are optional (Python's gRPC has none such),
and what can go wrong below HTTP/2."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from concurrent.futures import Future
from typing import Any, Protocol

from tests.controlplane.fault import Faults
from tests.controlplane.record import Record

CHUNK = 1 << 16
LOOK_S = 0.02  # how soon a fault that is switched off is noticed
HANDSHAKE_S = 30.0


class Source(Protocol):
    """What the front asks for at each connection."""

    faults: Faults
    record: Record

    def tls(self) -> ssl.SSLContext | None: ...


class Front:
    """Listens on ``address`` and carries bytes to gRPC on loopback, in a thread of its own.

    ``certificates``: the client's certificate (DER, may be empty) by the port from which gRPC
    sees the connection.
    """

    def __init__(self, source: Source, address: str, port: int, target: int) -> None:
        self.certificates: dict[int, bytes] = {}
        self._source, self._target = source, target
        self._links: set[tuple[asyncio.Task[None], asyncio.StreamWriter]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._serve, address, port))
        self.port: int = self._server.sockets[0].getsockname()[1]

    def _do(self, coroutine: Any) -> Any:
        future: Future[Any] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        return future.result(30)

    def cut(self) -> None:
        """Reset every connection."""
        self._do(self._cut())

    async def _cut(self) -> None:
        """Each task sees its connection go and closes the other one; but not while a fault holds
        it, and then it is cancelled."""
        links = list(self._links)
        for _, writer in links:
            writer.transport.abort()
        tasks = {task for task, _ in links}
        for patience_s in (0.5, 5):
            if tasks:
                _, tasks = await asyncio.wait(tasks, timeout=patience_s)
            for task in tasks:
                task.cancel()

    def close(self) -> None:
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _stop(self) -> None:
        self._server.close()
        await self._cut()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in others:  # those that wait for a fault to end, or have not begun yet
                task.cancel()
            await asyncio.wait(others, timeout=1)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        link = (task, writer)
        self._links.add(link)
        try:
            await self._carry(reader, writer)
        except asyncio.CancelledError:
            pass
        except (OSError, ssl.SSLError, EOFError) as error:
            self._source.record.write("connection-failed", reason=str(error))
        finally:
            self._links.discard(link)
            await _drop(writer)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._source.record.write("connection")
        if self._source.faults.reject:
            return
        await self._hold()
        context = self._source.tls()
        if context is not None:
            await writer.start_tls(context, ssl_handshake_timeout=HANDSHAKE_S)
        secured = writer.get_extra_info("ssl_object")
        certificate = (secured.getpeercert(True) if secured else None) or b""
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        port = far_writer.get_extra_info("sockname")[1]
        self.certificates[port] = certificate
        tasks = [
            asyncio.ensure_future(self._copy(reader, far_writer, is_out=False)),
            asyncio.ensure_future(self._copy(far_reader, writer, is_out=True)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await _drop(far_writer)
            del self.certificates[port]

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_out: bool
    ) -> None:
        while data := await reader.read(CHUNK):
            await self._hold()
            await self._write(writer, data, is_out)

    async def _write(self, writer: asyncio.StreamWriter, data: bytes, is_out: bool) -> None:
        while data:
            rate = self._source.faults.drip_bps if is_out else 0
            size = max(1, rate // 20) if rate else len(data)
            writer.write(data[:size])
            await writer.drain()
            data = data[size:]
            if rate:
                await asyncio.sleep(size / rate)

    async def _hold(self) -> None:
        while self._source.faults.half_open:  # noqa: ASYNC110 (another thread changes it)
            await asyncio.sleep(LOOK_S)


async def _drop(writer: asyncio.StreamWriter) -> None:
    """Reset the connection, and wait until its socket is closed."""
    writer.transport.abort()
    with contextlib.suppress(OSError, TimeoutError):
        await asyncio.wait_for(writer.wait_closed(), 1)
