"""Where the control plane is, and how a call of ours gets there.

Addresses are tried in turn. Each attempt reads root, certificate and token anew, finds the name
again, and tells in one sentence why it came to nothing.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable

from interceptor.config import Config
from interceptor.errors import InterceptorError
from interceptor.host import admission, handshake, lookup, passing, rpc
from interceptor.host.admission import Admission, Pair
from interceptor.host.backoff import Backoff
from interceptor.host.lookup import LookupFailed, Manner
from interceptor.host.outlet import Outlet, open_outlet
from interceptor.host.rpc import RpcError, Tls

log = logging.getLogger(__name__)

_REFUSALS = ("UNAUTHENTICATED", "PERMISSION_DENIED")


class Unreachable(InterceptorError):
    """An attempt to reach a control plane failed; the message names the address and the reason."""


class Connection:
    """A connection with a control plane. It is not made again when it is lost: open another."""

    def __init__(
        self, channel: rpc.Channel, outlet: Outlet, metadata: Callable[[], dict[str, str]]
    ):
        self._channel, self._outlet = channel, outlet
        self.metadata = metadata
        """gRPC metadata of a call that begins now."""

    async def call(self, method: str, request: bytes, timeout_s: float) -> bytes:
        """One question, one answer. Raises RpcError; `Target.explain` says more."""
        return await self._channel.call(method, request, self.metadata(), timeout_s)

    def stream(self, method: str) -> rpc.Call:
        """Begin a stream."""
        return self._channel.stream(method, self.metadata())

    async def close(self) -> None:
        """End it with all its calls."""
        await self._channel.close()
        await self._outlet.close()


class Target:
    """One user's way to the control plane, with a turn and a back-off of its own.

    ``address`` is the one that was tried last, ``last_error`` why it came to nothing ("" once
    connected), ``failures`` count.
    """

    def __init__(self, config: Config, addresses: tuple[str, ...], admission: Admission) -> None:
        self._addresses, self.admission = addresses, admission
        self._timeout_s = config.mesh.istiod.connect_timeout_ms / 1000
        self._mark = config.capture.mark
        self._manner = Manner(config.sidecar.gid, self._mark, config.dns.resolv_conf)
        self._backoff, self._turn, self._must_wait = Backoff(), 0, False
        self.address, self.last_error, self.failures = addresses[0], "", 0

    @classmethod
    def choose(
        cls,
        config: Config,
        addresses: tuple[str, ...] = (),
        pair: Callable[[], Pair | None] = admission.nothing,
    ) -> Target:
        """``addresses``: others than those of mesh.istiod. ``pair`` gives this VM's certificate."""
        return cls(config, addresses or config.mesh.istiod.addresses, Admission(config, pair))

    async def connect(self) -> Connection:
        """Until there is a connection, whatever it takes. Each reason is told once."""
        while True:
            if self._must_wait:
                await asyncio.sleep(self._backoff.next_s())
            self._must_wait = True
            told = self.last_error
            for _ in self._addresses:
                try:
                    return await self.open()
                except Unreachable as error:
                    if str(error) != told:
                        log.warning("control plane: %s", error)

    def turn(self) -> None:
        """Whoever was connected with is of no use: the next address comes first."""
        self._turn += 1

    def settle(self) -> None:
        """What was connected with has proved to be a control plane: begin the next wait anew."""
        self._backoff.reset()

    async def open(self) -> Connection:
        """One attempt, at one address; the next one is another's turn where it fails.

        Raises Unreachable.
        """
        self.address = self._addresses[self._turn % len(self._addresses)]
        try:
            made = await self._open(*admission.split(self.address))
        except InterceptorError as error:
            self._turn += 1
            self.failures += 1
            self.last_error = f"{self.address}: {error}"
            raise Unreachable(self.last_error) from error
        self.last_error = ""
        return made

    async def _open(self, host: str, port: int) -> Connection:
        tls = self.admission.tls(host, port)
        try:
            found = await lookup.find(host, self._manner, self._timeout_s)
        except LookupFailed as error:
            raise Unreachable(
                f"{host} cannot be found: {error}; give it in /etc/hosts, or name an address"
            ) from error
        failure: InterceptorError = Unreachable(f"{host} has no address")
        for ip in found:
            try:
                return await self._open_at(ip, port, tls)
            except InterceptorError as error:
                failure = error
        raise failure

    async def _open_at(self, ip: str, port: int, tls: Tls | None) -> Connection:
        try:
            outlet = await open_outlet(ip, port, self._mark, self._timeout_s)
        except OSError as error:
            raise Unreachable(self._reason(error, ip, port)) from error
        channel = rpc.open_channel(outlet.address, tls)
        made = Connection(
            channel, outlet, lambda: self.admission.metadata(is_secret=tls is not None)
        )
        try:
            await channel.ready(self._timeout_s)
        except RpcError as error:
            await made.close()
            raise Unreachable(await self._examine(ip, port, tls, error)) from error
        except BaseException:
            await made.close()
            raise
        return made

    def _reason(self, error: OSError, ip: str, port: int) -> str:
        if isinstance(error, TimeoutError):
            return f"{ip} does not answer on port {port} in {self._timeout_s:g} s"
        if error.errno == errno.ECONNREFUSED:
            return f"{ip} refuses connections on port {port}: nobody listens there"
        return f"{ip} port {port}: {error.strerror or error}"

    async def _examine(self, ip: str, port: int, tls: Tls | None, error: RpcError) -> str:
        """gRPC gave up a connection that was made: why."""
        if tls is None:
            return f"{ip} port {port} does not speak gRPC without TLS (mesh.istiod.tls): {error}"
        try:
            async with asyncio.timeout(self._timeout_s):
                opened = await passing.connect(ip, port, self._mark)
        except OSError as again:
            return self._reason(again, ip, port)
        found = await handshake.explain(opened, tls, self._timeout_s)
        if tls.certificate and found.startswith(handshake.REFUSED):
            self.admission.note_refused(tls.certificate)
        else:
            self.admission.note_failed()
        return f"{ip} port {port}: {found or error}"

    def explain(self, error: RpcError) -> str:
        """What a call failed of, for people; with what is wrong with our token where that may be
        the reason."""
        found = ""
        if error.code in _REFUSALS:
            found = self.admission.explain()
            self.admission.note_failed()
        return f"{self.address}: {error}" + (f" ({found})" if found else "")
