"""Envoy's configuration stream, carried to the control plane and back as it is.

Each stream of Envoy's has one of the control plane's to itself, message by message: nonces,
versions and names are theirs, nothing is answered or remembered for either. So when one side
ends its stream, the other one is ended, too. Envoy keeps what it has and comes back at once,
saying what that is (initial_resource_versions, or version_info); its new stream then waits here,
with that first word unread, until a control plane is reached. To keep Envoy's stream over a loss
of the control plane would be wrong: a new one knows neither its nonces nor what it asked for.

What is changed on its way down is named in `fitting`: parts that this Envoy has not.
One message at most is held in each direction: who reads slowly is sent slowly.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Protocol

from interceptor.host import rpcserver, wait
from interceptor.host.rpc import RpcError
from interceptor.mesh.table import Difference
from interceptor.sidecar import fitting
from interceptor.sidecar.envelope import Form
from interceptor.sidecar.fitting import Fitting
from interceptor.sidecar.passage import Passage
from interceptor.sidecar.served import Refusal, Status, Uplink

log = logging.getLogger(__name__)

SERVICE = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
QUIET_S = 0.05
SETTLED_S = 0.5  # how long a table waits for Envoy


class Line(Protocol):
    """One stream of a control plane."""

    async def send(self, message: bytes) -> None: ...
    async def receive(self) -> bytes | None: ...
    async def close(self) -> None: ...


class Dial(Protocol):
    """How the control plane is reached; `way.Way`, but for tests."""

    @property
    def address(self) -> str:
        """Of the control plane that was tried last."""
        ...

    @property
    def last_error(self) -> str:
        """Why that came to nothing, if it did."""
        ...

    @property
    def failures(self) -> int:
        """Attempts in vain so far."""
        ...

    async def open(self, method: str) -> Line:
        """A stream of a control plane that answers; waits, with back-off, until there is one."""
        ...


class Relay:
    """Open it, and Envoy is served; all methods belong to one event loop."""

    def __init__(self, socket: Path, dial: Dial, group: int | None = None) -> None:
        self.socket = socket
        self._dial = dial
        self._group = group
        self._passage = Passage()
        self._fitting = Fitting()
        self._server: rpcserver.Server | None = None
        self._current: asyncio.Future[None] | None = None
        self._carrying: set[asyncio.Task[object]] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._streams = self._ended = self._ends = 0
        self._is_up = False
        self._since_s = monotonic()
        self._last_error = ""

    async def open(self) -> None:
        """Listen. The socket is root's and the sidecar's group's; nobody else may connect."""
        methods = {
            f"{SERVICE}{form.value}": rpcserver.Stream(partial(self._serve, form)) for form in Form
        }
        self._server = await rpcserver.serve(self.socket, methods, group=self._group)

    async def close(self) -> None:
        """End every stream. Envoy keeps what it has, and tries again until somebody is here."""
        if self._server is not None:
            await self._server.close()
            self._server = None
        await wait.cancelled(self._carrying)
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def follow(self, _difference: Difference) -> None:
        """The mesh has changed, as its names tell us. Envoy hears of it by a stream of its own:
        wait a little until it has, for a name that is answered before its listener is there
        would be dialled as a stranger's address."""
        if self._is_up:
            await self.wait_quiet(SETTLED_S)

    @property
    def conflicts(self) -> list[str]:
        """None that we know of: the control plane settles them."""
        return []

    async def wait_quiet(self, timeout_s: float) -> bool:
        """Wait until Envoy has answered for all that came down, and nothing moves; whether so."""
        deadline_s = monotonic() + timeout_s
        while self._is_up and monotonic() < deadline_s:
            still_s = monotonic() - self._passage.moved_s
            if self._passage.is_quiet and still_s >= QUIET_S:
                return True
            await asyncio.sleep(max(QUIET_S - still_s, QUIET_S / 5))
        return self._is_up

    def status(self) -> Status:
        """What happened so far."""
        passage = self._passage
        return Status(
            streams=self._streams,
            is_configured={"CLUSTER", "LISTENER"} <= passage.answered,
            counts=dict(passage.counts),
            refusals=passage.refusals,
            latencies_s=tuple(passage.latencies_s),
            ended=self._ended,
            uplink=Uplink(
                is_up=self._is_up,
                since_s=monotonic() - self._since_s,
                address=self._dial.address,
                ends=self._ends,
                failures=self._dial.failures,
                last_error=self._last_error
                if self._is_up
                else (self._dial.last_error or self._last_error),
            ),
        )

    async def _serve(self, form: Form, link: rpcserver.Link) -> None:
        """One stream of Envoy's, until either side ends it or a newer one replaces it."""
        replaced = asyncio.get_running_loop().create_future()
        if self._current is not None and not self._current.done():
            self._current.set_result(None)
        self._current = replaced
        self._streams += 1
        carrying: asyncio.Task[object] = asyncio.create_task(self._carry(form, link))
        self._carrying.add(carrying)
        carrying.add_done_callback(self._carrying.discard)
        try:
            await asyncio.wait((carrying, replaced), return_when=asyncio.FIRST_COMPLETED)
            if not carrying.done():
                raise RpcError("ABORTED", "Envoy has begun another stream")
            carrying.result()
        finally:
            self._streams -= 1
            self._ended += 1
            replaced.cancel()
            await wait.cancelled({carrying})

    async def _carry(self, form: Form, link: rpcserver.Link) -> None:
        """Raises RpcError as the control plane ended its stream, where it did."""
        log.info("envoy asks for its configuration (%s)", form.name.lower())
        line = await self._dial.open(f"{SERVICE}{form.value}")
        self._passage.begin()
        self._turn(is_up=True)
        log.info("envoy is connected with the control plane at %s", self._dial.address)
        up = asyncio.create_task(self._lift(form, link, line))
        down = asyncio.create_task(self._lower(form, link, line))
        try:
            await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
            for task in (down, up):
                if task.done():
                    task.result()
        except RpcError as error:
            self._last_error = str(error)
            self._ends += 1
            log.warning(
                "the control plane at %s ended envoy's stream: %s", self._dial.address, error
            )
            raise
        finally:
            self._turn(is_up=False)
            self._hang_up(line)
            await wait.cancelled({up, down})

    async def _lift(self, form: Form, link: rpcserver.Link, line: Line) -> None:
        is_first = True
        while (message := await link.receive()) is not None:
            if is_first and (found := fitting.choose(form, message)) is not None:
                self._fitting = found
            is_first = False
            refusal = self._passage.ask(form, message, monotonic())
            if refusal is not None:
                _tell(refusal)
            await line.send(message)

    async def _lower(self, form: Form, link: rpcserver.Link, line: Line) -> None:
        while (message := await line.receive()) is not None:
            self._passage.tell(form, message, monotonic())
            await link.send(self._fitting.fit(form, message))
        raise RpcError("UNAVAILABLE", "the control plane ended the stream")

    def _hang_up(self, line: Line) -> None:
        """In a task of its own: whoever carried is cancelled, perhaps more than once."""
        closing = asyncio.create_task(line.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    def _turn(self, *, is_up: bool) -> None:
        self._is_up = is_up
        self._since_s = monotonic()


def _tell(refusal: Refusal) -> None:
    names = ", ".join(refusal.names) or "a response"
    log.warning("envoy refused %s %s: %s", refusal.kind, names, refusal.reason)
