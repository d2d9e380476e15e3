"""gRPC servers of the agent: bytes in, bytes out. With `rpc` the only importer of grpc."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, Protocol

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # see `rpc`
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc
import grpc.aio

from interceptor.errors import InterceptorError
from interceptor.host.rpc import RpcError

SOCKET_MODE = 0o660
OPTIONS = (
    ("grpc.max_receive_message_length", 64 << 20),  # an Envoy that names 100,000 resources again
    ("grpc.max_send_message_length", -1),
    # Envoy asks every 30 s whether we live; grpc would take that for an attack.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
    # Two servers on one port would each get a part of the calls, and none would say so.
    ("grpc.so_reuseport", 0),
)
KEEPALIVE = (  # on a network a peer can vanish without a word
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),  # see `rpc`
    ("grpc.http2.max_pings_without_data", 0),
)


@dataclass(frozen=True, slots=True)
class ServerTls:
    """Everything is PEM. ``root``: the authority of clients' certificates, which are asked for
    (and then needed) with ``require_client`` only."""

    certificate: bytes
    key: bytes = field(repr=False)
    root: bytes = b""
    require_client: bool = False


class _Servicer(Protocol):
    """The part of grpc.aio.ServicerContext that is used."""

    async def read(self) -> object: ...
    async def write(self, message: bytes) -> None: ...
    async def abort(self, code: grpc.StatusCode, details: str) -> NoReturn: ...
    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...] | None: ...
    def auth_context(self) -> Mapping[str, list[bytes]]: ...
    def peer(self) -> str: ...


class Link:
    """One call, from the server's side."""

    def __init__(self, servicer: _Servicer) -> None:
        self._servicer = servicer

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the client sent along, names in lower case; binary values are left out."""
        pairs = self._servicer.invocation_metadata() or ()
        return {name: value for name, value in pairs if isinstance(value, str)}

    @property
    def peer(self) -> bytes:
        """The client's verified certificate, PEM; empty where it showed none."""
        found = self._servicer.auth_context().get("x509_pem_cert")
        return found[0] if found else b""

    @property
    def address(self) -> str:
        """Where the client calls from, as grpc writes it: ``ipv4:192.0.2.1:40000``, and
        ``unix:/path`` for the path that its own socket is bound to."""
        return self._servicer.peer()

    async def receive(self) -> bytes | None:
        """The next message; None: the client sends no more, or is gone."""
        message = await self._servicer.read()
        return message if isinstance(message, bytes) else None

    async def send(self, message: bytes) -> None:
        """Waits while the client takes no more."""
        await self._servicer.write(message)


@dataclass(frozen=True, slots=True)
class Stream:
    """A method with a stream in both directions. It refuses the call by RpcError, and is
    cancelled when the client goes."""

    run: Callable[[Link], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Unary:
    """A method with one request and one answer. It refuses the call by RpcError."""

    run: Callable[[bytes, Link], Awaitable[bytes]]


Methods = Mapping[str, Stream | Unary]
"""What a server offers, by full name (``/package.Service/Method``)."""


class Server:
    """Serves until it is closed. ``port`` is 0 on a Unix socket."""

    def __init__(self, server: grpc.aio.Server, port: int, socket: Path | None) -> None:
        self._server = server
        self._socket = socket
        self.port = port

    async def close(self) -> None:
        """End every call."""
        await self._server.stop(0)
        if self._socket is not None:
            self._socket.unlink(missing_ok=True)


async def serve(
    place: Path | str,
    methods: Methods,
    tls: ServerTls | None = None,
    group: int | None = None,
) -> Server:
    """Listen at a Unix socket, 0660 and of ``group``, or at ``ADDRESS:PORT``, where port 0 is any.
    Raises InterceptorError where the place is taken."""
    is_local = isinstance(place, Path)
    server = grpc.aio.server(options=OPTIONS if is_local else OPTIONS + KEEPALIVE)
    server.add_generic_rpc_handlers(_rules(methods))
    try:
        if isinstance(place, Path):
            port = _bind_socket(server, place, group)
        elif tls is None:
            port = server.add_insecure_port(place)
        else:
            port = server.add_secure_port(place, _credentials(tls))
        await server.start()
    except RuntimeError as error:
        await server.stop(None)
        raise InterceptorError(f"cannot listen at {place}: {error}") from error
    return Server(server, port, place if isinstance(place, Path) else None)


def _bind_socket(server: grpc.aio.Server, path: Path, group: int | None) -> int:
    mask = os.umask(0o777 & ~SOCKET_MODE)
    try:
        server.add_insecure_port(f"unix:{path}")
    finally:
        os.umask(mask)
    if group is not None:
        os.chown(path, -1, group)
    return 0


def _credentials(tls: ServerTls) -> grpc.ServerCredentials:
    pair = ((tls.key, tls.certificate),)
    return grpc.ssl_server_credentials(
        pair, tls.root if tls.require_client else None, tls.require_client
    )


def _rules(methods: Methods) -> tuple[grpc.GenericRpcHandler, ...]:
    services: dict[str, dict[str, grpc.RpcMethodHandler]] = defaultdict(dict)
    for name, method in methods.items():
        _, service, short = name.split("/")
        services[service][short] = _rule(method)
    return tuple(
        grpc.method_handlers_generic_handler(service, of) for service, of in services.items()
    )


def _rule(method: Stream | Unary) -> grpc.RpcMethodHandler:
    if isinstance(method, Stream):
        return grpc.stream_stream_rpc_method_handler(_streaming(method))
    return grpc.unary_unary_rpc_method_handler(_answering(method))


def _streaming(method: Stream) -> Callable[[object, _Servicer], Awaitable[None]]:
    async def run(_requests: object, servicer: _Servicer) -> None:
        try:
            await method.run(Link(servicer))
        except RpcError as error:
            await servicer.abort(grpc.StatusCode[error.code], error.message)

    return run


def _answering(method: Unary) -> Callable[[bytes, _Servicer], Awaitable[bytes]]:
    async def run(request: bytes, servicer: _Servicer) -> bytes:
        try:
            return await method.run(request, Link(servicer))
        except RpcError as error:
            await servicer.abort(grpc.StatusCode[error.code], error.message)

    return run
