"""The agent's own stream to istiod: connected, kept, made again. Imports gRPC.

It is one stream beside Envoy's, so names come whether Envoy is there or not. What was received is
handed over one at a time, the newest: each says the whole table.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from time import monotonic
from typing import Protocol

from interceptor.host.endure import PASSING
from interceptor.host.rpc import Call, RpcError
from interceptor.source.dialogue import Dialogue, Form, Node, NoResponse, Told

PATIENCE_S, LONGEST_S = 30.0, 600.0  # for the first word on a stream; it doubles each time in vain
HEALTH_S = 60.0  # istiod acknowledges no health message, so that one that was lost is said again
_log = logging.getLogger(__name__)


class Connection(Protocol):
    """The part of `host.controlplane.Connection` that is used."""

    def stream(self, method: str) -> Call: ...
    async def close(self) -> None: ...


class Target(Protocol):
    """The part of `host.controlplane.Target` that is used."""

    address: str
    last_error: str
    failures: int

    async def connect(self) -> Connection: ...
    async def open(self) -> Connection: ...
    def settle(self) -> None: ...
    def turn(self) -> None: ...
    def explain(self, error: RpcError) -> str: ...


class Line:
    """One event loop. ``bell`` rings when there is something to `take`, or the state changed;
    ``is_heard``: istiod has spoken on the stream that is open now."""

    def __init__(
        self,
        target: Target,
        node: Callable[[], Node],
        protocol: str,
    ) -> None:
        self.target, self._node = target, node
        self._forms = [Form.DELTA, Form.SOTW]
        self._is_fixed = protocol != "auto"
        if protocol == "sotw":
            self._forms.reverse()
        self.bell = asyncio.Event()
        self.is_heard, self.since_s = False, monotonic()
        self.reason = ""
        self.counts: Counter[str] = Counter()
        self._patience_s = PATIENCE_S
        self._latest: tuple[Told, Dialogue, Call, float] | None = None
        self._current: tuple[Dialogue, Call] | None = None
        self._sending = asyncio.Lock()
        self._health: str | None = None

    @property
    def form(self) -> Form:
        """Of the stream that is open, or of the next one."""
        return self._forms[0]

    async def run(self) -> None:
        """For ever: connect, listen, and again."""
        while True:
            connection = await self.target.connect()
            try:
                await self._attend(connection)
            finally:
                await connection.close()

    def take(self) -> tuple[Told, Answer] | None:
        """What was told last, once; it has to be answered."""
        latest, self._latest = self._latest, None
        return None if latest is None else (latest[0], Answer(self, *latest))

    async def tell_health(self, reason: str) -> None:
        """Of this VM's workload: ``reason`` why it is not healthy, "" where it is. Now, on each
        new stream, and now and then."""
        self._health = reason
        if self._current is not None:
            await self._send_health(*self._current)

    # --- one stream

    async def _attend(self, connection: Connection) -> None:
        """Never raises what a host may get over: how it ended is noted."""
        call: Call | None = None
        patience: asyncio.TimerHandle | None = None
        telling: asyncio.Task[None] | None = None
        try:
            dialogue = Dialogue(self.form, await asyncio.to_thread(self._node))
            call = connection.stream(dialogue.form.method)
            patience = asyncio.get_running_loop().call_later(self._patience_s, call.cancel)
            await self.send(call, dialogue.begin())
            self._current = dialogue, call
            telling = asyncio.create_task(self._keep_telling(dialogue, call))
            while (data := await call.receive()) is not None:
                if self._hear(dialogue, call, data):
                    patience.cancel()
            self._end(None)
        except RpcError as error:
            self._end(error)
        except (NoResponse, *PASSING) as error:
            self._end(RpcError("INTERNAL", str(error)))
        finally:
            self._current = None
            for each in (patience, call, telling):
                if each is not None:
                    each.cancel()

    def _hear(self, dialogue: Dialogue, call: Call, data: bytes) -> bool:
        """Whether it was about names."""
        told = dialogue.receive(data)
        if told is None:
            self.counts["ignored"] += 1
            return False
        self.counts["pushes"] += 1
        if not self.is_heard:
            self._turn(is_heard=True)
            self.target.settle()
            self._patience_s = PATIENCE_S
            self.reason = ""
            form = dialogue.form.name.lower()
            _log.info("the control plane at %s tells names (%s)", self.target.address, form)
        self._latest = told, dialogue, call, monotonic()
        self.bell.set()
        return True

    def _end(self, error: RpcError | None) -> None:
        """A stream that has spoken and then ends because the other side closes is no failure:
        so it does at the maximum age of a connection, and when it is started again."""
        was_heard = self.is_heard
        self._turn(is_heard=False)
        self.counts["ends"] += 1
        if error is not None and error.code == "UNIMPLEMENTED" and not self._is_fixed:
            self._forms.reverse()
        if was_heard and (error is None or error.code == "UNAVAILABLE"):
            _log.info("the control plane at %s ended the stream", self.target.address)
            return
        if error is None:
            error = RpcError("OK", "the stream ended without a word")
        if error.code == "CANCELLED":
            error = RpcError("CANCELLED", f"no word in {self._patience_s:g} s")
            self._patience_s = min(2 * self._patience_s, LONGEST_S)
        self.target.turn()
        self.counts["failures"] += 1
        before, self.reason = self.reason, self.target.explain(error)
        if self.reason != before:
            _log.warning("control plane: %s", self.reason)

    def _turn(self, *, is_heard: bool) -> None:
        if is_heard != self.is_heard:
            self.since_s = monotonic()
        self.is_heard = is_heard
        self.bell.set()

    # --- what is sent

    async def send(self, call: Call, message: bytes) -> None:
        """One at a time: gRPC wants it so. Raises RpcError."""
        async with self._sending:
            await call.send(message)

    async def _send_health(self, dialogue: Dialogue, call: Call) -> None:
        if self._health is None:
            return
        try:
            await self.send(call, dialogue.health(self._health))
            self.counts["health"] += 1
        except RpcError as error:
            _log.debug("health was not told: %s", error)  # the stream's end is told by itself

    async def _keep_telling(self, dialogue: Dialogue, call: Call) -> None:
        while True:
            await self._send_health(dialogue, call)
            await asyncio.sleep(HEALTH_S)


class Answer:
    """To what was told, on the stream that it came by."""

    def __init__(
        self, line: Line, told: Told, dialogue: Dialogue, call: Call, heard_s: float
    ) -> None:
        self._line, self._told, self._dialogue, self._call = line, told, dialogue, call
        self.heard_s = heard_s
        """By `time.monotonic`."""

    async def send(self, reason: str) -> None:
        """ACK, or NACK with a reason. A stream that is over needs none."""
        made = self._dialogue.refuse(self._told, reason) if reason else None
        self._line.counts["nacks" if reason else "acks"] += 1
        try:
            await self._line.send(self._call, made or self._dialogue.accept(self._told))
        except RpcError as error:
            _log.debug("an answer was not sent: %s", error)


async def ask(target: Target, node: Node, protocol: str, timeout_s: float) -> bytes:
    """The name table, once: for a command that runs beside a daemon, or without one.

    Raises InterceptorError (RpcError too) where no control plane gives one.
    """
    forms = [Form.SOTW, Form.DELTA] if protocol == "sotw" else [Form.DELTA, Form.SOTW]
    for form in forms if protocol == "auto" else forms[:1]:
        connection = await target.open()
        call = connection.stream(form.method)
        timer = asyncio.get_running_loop().call_later(timeout_s, call.cancel)
        try:
            return await _first(call, Dialogue(form, node))
        except RpcError as error:
            if error.code == "CANCELLED":
                error = RpcError("CANCELLED", f"no name table in {timeout_s:g} s")
            if error.code != "UNIMPLEMENTED" or form is forms[-1] or protocol != "auto":
                raise RpcError(error.code, target.explain(error)) from error
        finally:
            timer.cancel()
            await connection.close()
    raise RpcError("UNIMPLEMENTED", f"{target.address} speaks no aggregated xDS")


async def _first(call: Call, dialogue: Dialogue) -> bytes:
    await call.send(dialogue.begin())
    while (data := await call.receive()) is not None:
        try:
            told = dialogue.receive(data)
        except NoResponse as error:
            raise RpcError("INTERNAL", str(error)) from error
        if told is not None and told.table is not None:
            return told.table
        if told is not None and told.problem:
            raise RpcError("INTERNAL", told.problem)
    raise RpcError("UNAVAILABLE", "the stream ended without a name table")
