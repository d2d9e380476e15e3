"""Envoy's way to the control plane: one connection for each of its streams.

A control plane that takes a stream and says nothing on it is no better than one that is away, so
the pauses between attempts grow until one has spoken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Call(Protocol):
    """The part of `host.rpc.Call` that is used."""

    async def send(self, message: bytes) -> None: ...
    async def receive(self) -> bytes | None: ...
    def cancel(self) -> None: ...


class Connection(Protocol):
    """The part of `host.controlplane.Connection` that is used."""

    def stream(self, method: str) -> Call: ...
    async def close(self) -> None: ...


class Target(Protocol):
    """The part of `host.controlplane.Target` that is used."""

    @property
    def address(self) -> str: ...
    @property
    def last_error(self) -> str: ...
    @property
    def failures(self) -> int: ...
    async def connect(self) -> Connection: ...
    def settle(self) -> None: ...


class Line:
    """One stream, with a connection to itself."""

    def __init__(self, call: Call, connection: Connection, heard: Callable[[], None]) -> None:
        self._call = call
        self._connection = connection
        self._heard = heard

    async def send(self, message: bytes) -> None:
        """Waits while the control plane takes no more. Raises RpcError."""
        await self._call.send(message)

    async def receive(self) -> bytes | None:
        """Raises RpcError when the stream is over for a reason, None where without."""
        message = await self._call.receive()
        if message is not None:
            self._heard()
        return message

    async def close(self) -> None:
        """End it now."""
        self._call.cancel()
        await self._connection.close()


class Way:
    """Opens lines, one after the other."""

    def __init__(self, target: Target) -> None:
        self._target = target

    @property
    def address(self) -> str:
        """Of the control plane that was tried last."""
        return self._target.address

    @property
    def last_error(self) -> str:
        """Why that came to nothing, if it did."""
        return self._target.last_error

    @property
    def failures(self) -> int:
        """Attempts in vain so far."""
        return self._target.failures

    async def open(self, method: str) -> Line:
        """A stream of a control plane that answers; waits until there is one."""
        connection = await self._target.connect()
        return Line(connection.stream(method), connection, self._target.settle)
