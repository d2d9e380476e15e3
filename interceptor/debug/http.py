"""HTTP of the agent: health and metrics on loopback, everything else for root alone.

Two listeners: TCP on ``agent.listen`` (15020) for probes and Prometheus, and a
Unix socket of mode 0600 in the run directory for the command line. The debug
page on TCP is given only to root's processes, known by the owner of the client
socket: loopback is not a permission.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import orjson

from interceptor.debug import selection
from interceptor.debug.selection import Selection
from interceptor.debug.web import web
from interceptor.errors import InterceptorError
from interceptor.host import serving, tcptable

Json = Mapping[str, object]

MAXIMUM_CONNECTIONS = 256  # of each listener: anybody on this host may open some
LAST_WORDS_S = 2.0  # how long a response may take when the daemon ends


@dataclass(frozen=True, slots=True)
class Pages:
    """What the daemon lets be read and done. ``ready`` gives (ready, why not);
    ``metrics``, ``status`` and ``sidecar`` may block, and are called in a thread. ``trace``
    gives lines of JSON."""

    ready: Callable[[], tuple[bool, str]]
    metrics: Callable[[], bytes]
    status: Callable[[], Json]
    name_table: Callable[[], Json]
    sidecar: Callable[[], Json]
    confirm: Callable[[], bool]
    trace: Callable[[Selection], AsyncGenerator[bytes, None]]


def _find_owner(request: web.Request) -> int | None:
    """The uid at the client's end; None where the kernel has no such socket here."""
    assert request.transport is not None
    client = request.transport.get_extra_info("peername")
    server = request.transport.get_extra_info("sockname")
    return tcptable.owner(client[:2], server[:2])


def _refuse(uid: int | None) -> web.Response:
    whose = "nobody of this network namespace" if uid is None else f"uid {uid}"
    said = f"only root may read this, and this connection is of {whose}\n"
    return web.Response(text=said, status=403)


def _respond(value: object, status: int = 200) -> web.Response:
    body = orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2) + b"\n"
    return web.Response(body=body, status=status, content_type="application/json")


async def _metrics(pages: Pages) -> web.Response:
    # Prometheus text format; the library's own content type has a charset
    # parameter that aiohttp wants to set itself.
    return web.Response(
        body=await asyncio.to_thread(pages.metrics),
        headers={"Content-Type": "text/plain; version=0.0.4"},
    )


def build_public(pages: Pages) -> web.Application:
    """What anybody on this host may read, and the debug page for root."""

    async def ready(_request: web.Request) -> web.Response:
        is_ready, why = pages.ready()
        return web.Response(text=f"{why}\n", status=200 if is_ready else 503)

    async def metrics(_request: web.Request) -> web.Response:
        return await _metrics(pages)

    async def name_table(request: web.Request) -> web.Response:
        if (uid := _find_owner(request)) != 0:
            return _refuse(uid)
        return _respond(pages.name_table())

    app = web.Application()
    app.router.add_get("/healthz/ready", ready)
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/stats/prometheus", metrics)
    app.router.add_get("/debug/ndsz", name_table)
    return app


def build_control(pages: Pages) -> web.Application:
    """What the command line asks, over the Unix socket."""

    async def status(_request: web.Request) -> web.Response:
        return _respond(await asyncio.to_thread(pages.status))

    async def metrics(_request: web.Request) -> web.Response:
        return await _metrics(pages)

    async def sidecar(_request: web.Request) -> web.Response:
        return _respond(await asyncio.to_thread(pages.sidecar))

    async def name_table(_request: web.Request) -> web.Response:
        return _respond(pages.name_table())

    async def confirm(_request: web.Request) -> web.Response:
        return _respond({"confirmed": pages.confirm()})

    async def trace(request: web.Request) -> web.StreamResponse:
        try:
            wanted = selection.decode(request.query.items())
        except ValueError as error:
            return _respond({"error": str(error)}, 400)
        return await _stream(request, pages.trace(wanted))

    app = web.Application()
    app.router.add_get(selection.PAGE, trace)
    app.router.add_get("/status", status)
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/sidecar", sidecar)
    app.router.add_get("/debug/ndsz", name_table)
    app.router.add_post("/confirm", confirm)
    return app


async def _stream(request: web.Request, lines: AsyncGenerator[bytes, None]) -> web.StreamResponse:
    """Lines until they end or the client has left."""
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    async with aclosing(lines) as told:
        try:
            async for line in told:
                if not response.prepared:
                    await response.prepare(request)
                await response.write(line)
        except InterceptorError as error:
            return _respond({"error": str(error)}, 503)
        except ConnectionError:
            pass  # the client has left
    return response


class Listeners:
    """The open listeners of both applications; `close` gives up port and socket file."""

    def __init__(self, socket_path: Path) -> None:
        self._runners: list[web.AppRunner] = []
        self._servers: list[asyncio.Server] = []
        self._socket_path = socket_path

    async def add(self, app: web.Application, listener: socket.socket) -> None:
        """Serve one more application."""
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=LAST_WORDS_S)
        self._runners.append(runner)
        await runner.setup()
        factory = runner.server
        assert factory is not None

        def has_room() -> bool:
            return len(factory.connections) < MAXIMUM_CONNECTIONS

        self._servers.append(await serving.serve(factory, listener, has_room))

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        for runner in self._runners:
            await runner.cleanup()
        self._socket_path.unlink(missing_ok=True)


async def serve(pages: Pages, listen: str, socket_path: Path) -> Listeners:
    """Open both listeners. Raises InterceptorError where the port is taken."""
    host, _, port = listen.rpartition(":")
    try:
        public = serving.bind_tcp(host.strip("[]"), int(port))
    except OSError as error:
        raise InterceptorError(f"agent.listen {listen}: {error.strerror}; name another") from error
    opened = Listeners(socket_path)
    try:
        await opened.add(build_public(pages), public)
        await opened.add(build_control(pages), _bind_control(socket_path))
    except BaseException:
        await opened.close()
        raise
    return opened


def _bind_control(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    mask = os.umask(0o177)
    try:
        return serving.bind_unix(str(path))
    finally:
        os.umask(mask)
