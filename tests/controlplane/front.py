"""TCP and TLS before gRPC: client certificates that are optional (Python's gRPC has none such),
and what can go wrong below HTTP/2."""

from __future__ import annotations

import asyncio
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
        links = list(self._links)
        for task, writer in links:
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*(task for task, _ in links), return_exceptions=True)

    def close(self) -> None:
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _stop(self) -> None:
        self._server.close()
        await self._cut()
        await asyncio.sleep(0)  # transports close their sockets in the next round

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
            writer.transport.abort()

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
            far_writer.transport.abort()
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
