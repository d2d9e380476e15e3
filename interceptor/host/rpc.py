"""gRPC for the agent: bytes in, bytes out, on asyncio. With `rpcserver` the only importer of grpc.

grpc is 60 ms and 15 MB to import: import this module when a channel is opened, not before.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

# Must be set before the import. Envoy and probes are started by fork and exec, and grpc's fork
# handlers would stop its threads around each; what it logs is in our errors already.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc
import grpc.aio

from interceptor.errors import InterceptorError

_NO_METADATA: Mapping[str, str] = {}
_UNKNOWN = "Internal error from Core"  # cygrpc's, of a batch that the core refused
_LOOKS, _LOOK_S = 200, 0.01
_PROBE = "/interceptor.None/None"  # fails at once where there is no connection, and says why


class RpcError(InterceptorError):
    """A call ended with a status other than OK. ``code`` is grpc's name of it (UNAVAILABLE)."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(f"{code}: {message}" if message else code)


@dataclass(frozen=True, slots=True)
class Tls:
    """A client's side; everything is PEM. ``server_name``: the name that the server's certificate
    must bear, where it is not the address's."""

    root: bytes
    certificate: bytes = b""
    key: bytes = field(default=b"", repr=False)
    server_name: str = ""


@dataclass(frozen=True, slots=True)
class Keepalive:
    """A connection that says nothing for ``time_s`` is asked whether it lives; it is given up
    when no answer comes in ``timeout_s``. Defaults: as Istio's agent."""

    time_s: float = 30.0
    timeout_s: float = 10.0


class _Call(Protocol):
    """The part of grpc.aio.StreamStreamCall that is used."""

    async def write(self, message: bytes) -> None: ...
    async def read(self) -> object: ...
    async def done_writing(self) -> None: ...
    async def code(self) -> grpc.StatusCode: ...
    async def details(self) -> str | None: ...
    def cancel(self) -> bool: ...


class Call:
    """One stream of a client.

    A task that is cancelled within `send` or `receive` takes the whole call with it: that is how
    grpc has it. So read in a task of its own, and time out on what it hands over.
    """

    def __init__(self, call: _Call) -> None:
        self._call = call

    async def send(self, message: bytes) -> None:
        """Waits while the peer takes no more. Raises RpcError when the call is over."""
        try:
            await self._call.write(message)
        except (asyncio.InvalidStateError, grpc.aio.AioRpcError) as error:
            raise await self._ended() from error
        except asyncio.CancelledError as error:
            raise self._cancelled(error) from error

    async def receive(self) -> bytes | None:
        """The next message; None: the peer ended the stream cleanly. Raises RpcError."""
        try:
            message = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise await self._ended() from error
        except asyncio.CancelledError as error:
            raise self._cancelled(error) from error
        return message if isinstance(message, bytes) else None

    async def done_sending(self) -> None:
        """The peer's `receive` gives None after what is on its way."""
        await self._call.done_writing()

    def cancel(self) -> None:
        """End it now; a `receive` that waits raises RpcError CANCELLED."""
        self._call.cancel()

    async def _ended(self) -> RpcError:
        """How the call ended. A message that was sent as the peer refused the call fails of "an
        internal error" first, and the peer's own status comes a moment later."""
        for _ in range(_LOOKS):
            code, details = await self._call.code(), await self._call.details() or ""
            if details != _UNKNOWN:
                break
            await asyncio.sleep(_LOOK_S)
        return RpcError(code.name, details or "the stream has ended")

    def _cancelled(self, error: asyncio.CancelledError) -> BaseException:
        """grpc raises CancelledError for a call that was cancelled, which is not this task."""
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            return error
        return RpcError("CANCELLED", "the call was cancelled")


class Channel:
    """A connection to one address, made when it is needed and again when it was lost."""

    def __init__(self, channel: grpc.aio.Channel, address: str) -> None:
        self._channel = channel
        self.address = address

    async def ready(self, timeout_s: float) -> None:
        """Wait until connected. Raises RpcError: UNAVAILABLE with the first attempt's reason, or
        DEADLINE_EXCEEDED."""
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    state = self._channel.get_state(try_to_connect=True)
                    if state is grpc.ChannelConnectivity.READY:
                        return
                    if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                        return await self._explain()
                    await self._channel.wait_for_state_change(state)
        except TimeoutError as error:
            message = f"{self.address} does not answer in {timeout_s:g} s"
            raise RpcError("DEADLINE_EXCEEDED", message) from error

    async def _explain(self) -> None:
        """Only a call is told why there is no connection."""
        try:
            await self.call(_PROBE, b"", timeout_s=1.0)
        except RpcError as error:
            if error.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
                raise

    async def call(
        self,
        method: str,
        request: bytes,
        metadata: Mapping[str, str] = _NO_METADATA,
        timeout_s: float | None = None,
    ) -> bytes:
        """One question, one answer. Raises RpcError; at once where nobody can be connected to."""
        ask = self._channel.unary_unary(method)
        try:
            answer: bytes = await ask(request, metadata=_pairs(metadata), timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise _error(error) from error
        return answer

    def stream(self, method: str, metadata: Mapping[str, str] = _NO_METADATA) -> Call:
        """Begin a stream in both directions; that it fails is told by its methods."""
        return Call(self._channel.stream_stream(method)(metadata=_pairs(metadata)))

    async def close(self) -> None:
        """Every call on it is cancelled."""
        await self._channel.close()


def open_channel(
    address: str, tls: Tls | None = None, keepalive: Keepalive | None = None
) -> Channel:
    """``HOST:PORT``, ``[IPV6]:PORT`` or ``unix:/PATH``. Nothing is sent before it is used."""
    options = _options(keepalive or Keepalive())
    if tls is None:
        return Channel(grpc.aio.insecure_channel(address, options), address)
    if tls.server_name:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
        options.append(("grpc.default_authority", tls.server_name))
    credentials = grpc.ssl_channel_credentials(tls.root, tls.key or None, tls.certificate or None)
    return Channel(grpc.aio.secure_channel(address, credentials, options), address)


def _options(keepalive: Keepalive) -> list[tuple[str, int | str]]:
    return [
        # A mesh of 100,000 hosts is a message of many megabytes.
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        ("grpc.keepalive_time_ms", int(keepalive.time_s * 1000)),
        ("grpc.keepalive_timeout_ms", int(keepalive.timeout_s * 1000)),
        # Else 60 s: the option above only bounds the kernel's wait for an acknowledgement (tried
        # with 1.85, against a peer whose kernel acknowledges and whose program is gone).
        ("grpc.http2.ping_timeout_ms", int(keepalive.timeout_s * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        # Channels would share connections, and with them another channel's back-off.
        ("grpc.use_local_subchannel_pool", 1),
        # A proxy of the environment is meant for the web, not for a mesh's inside.
        ("grpc.enable_http_proxy", 0),
        ("grpc.enable_retries", 0),
    ]


def _pairs(metadata: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """As HTTP/2 has it: names in lower case."""
    return tuple((name.lower(), value) for name, value in metadata.items())


def _error(error: grpc.aio.AioRpcError) -> RpcError:
    return RpcError(error.code().name, error.details() or "")
