"""istiod as a source: its name table, live, by a stream of the agent's own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from interceptor import config
from interceptor.host import memory, wait
from interceptor.source.event import Event
from interceptor.source.store import NAME, Store

if TYPE_CHECKING:
    from interceptor.host.admission import Pair
    from interceptor.source.belief import Belief
    from interceptor.source.dialogue import Node, Told
    from interceptor.source.line import Line, Target

SOURCE = "istiod"
_RESPONSES = {"received": "pushes", "acked": "acks", "refused": "nacks", "ignored": "ignored"}
_LARGE_BYTES = 1 << 20  # of a table: what reading it left free is worth giving back
_LAST_S = 2.0  # for the disk at the end
_log = logging.getLogger(__name__)


class Upstream:
    """The control plane, followed. ``target`` and ``node`` are asked for once it begins; ``node``
    blocks, and is asked again for each stream, for a VM's address can change."""

    def __init__(
        self, mesh: config.Mesh, target: Callable[[], Target], node: Callable[[], Node]
    ) -> None:
        self._mesh, self._target, self._node = mesh, target, node
        self.certificate: Callable[[], Pair | None] = lambda: None
        """Gives this VM's, to be shown with the next connection."""
        self._line: Line | None = None
        self._belief: Belief | None = None
        self._health: str | None = None
        self._version = self._refused = ""
        self._told_s: float | None = None
        self._is_large = False

    async def events(self) -> AsyncIterator[Event]:
        """The table now, and whenever it changes."""
        # gRPC and protobuf, 60 ms and 15 MB: of those who have a control plane.
        from interceptor.source.belief import Belief
        from interceptor.source.line import Line

        store = await asyncio.to_thread(Store, self._mesh.state_dir / NAME, SOURCE)
        belief = self._belief = Belief(self._mesh, store)
        line = self._line = Line(self._target(), self._node, self._mesh.istiod.protocol)
        if self._health is not None:
            await line.tell_health(self._health)
        running = asyncio.create_task(line.run(), name="control plane")
        saving: asyncio.Task[None] | None = None
        try:
            while not running.done():
                for event in await self._look(line, belief):
                    yield event
                if self._is_large:
                    self._is_large = False
                    await asyncio.to_thread(memory.trim)
                if belief.is_unsaved and (saving is None or saving.done()):
                    saving = asyncio.create_task(asyncio.to_thread(belief.save))
                with suppress(TimeoutError):
                    async with asyncio.timeout(belief.wait_s):
                        await line.bell.wait()
            running.result()
        finally:
            await wait.cancelled({running})
            last = asyncio.create_task(_save_last(belief, saving))
            await asyncio.wait({last}, timeout=_LAST_S)

    def pair(self) -> Pair | None:
        """What is shown with the next connection."""
        return self.certificate()

    async def tell_health(self, is_healthy: bool, message: str) -> None:
        """To the control plane: now, on each new stream, and now and then."""
        self._health = "" if is_healthy else message or "not healthy"
        if self._line is not None:
            await self._line.tell_health(self._health)

    def status(self) -> dict[str, object]:
        """For `interceptor status`; times in seconds from now."""
        line, belief = self._line, self._belief
        if line is None or belief is None:
            return {"connected": False, "address": self._mesh.istiod.addresses[0]}
        told_s = self._told_s
        return {
            "connected": line.is_heard,
            "since_s": round(monotonic() - line.since_s, 1),
            "address": line.target.address,
            "protocol": line.form.name.lower(),
            "last_error": line.target.last_error or line.reason,
            "version": self._version,
            "hosts": belief.hosts,
            "told_s": None if told_s is None else round(monotonic() - told_s, 1),
            "pushes": line.counts["pushes"],
            "acks": line.counts["acks"],
            "nacks": line.counts["nacks"],
            "refused": self._refused,
            "ignored": line.counts["ignored"],
            "ends": line.counts["ends"],
            "failures": line.target.failures + line.counts["failures"],
            "health": self._health,
            "health_told": line.counts["health"],
        }

    def figures(self) -> dict[str, dict[tuple[str, ...], float]]:
        """Families and their values, as `figure` has them, without the prefix."""
        line = self._line
        if line is None:
            return {}
        failures = line.target.failures + line.counts["failures"]
        return {
            "control_plane_connected": {(): float(line.is_heard)},
            "control_plane_failures": {(): float(failures)},
            "control_plane_streams_ended": {(): float(line.counts["ends"])},
            "control_plane_responses": {
                (what,): float(line.counts[key]) for what, key in _RESPONSES.items()
            },
        }

    async def _look(self, line: Line, belief: Belief) -> list[Event]:
        line.bell.clear()
        if line.is_heard:
            belief.hear()
        else:
            belief.lose(line.target.last_error or line.reason)
        if (taken := line.take()) is None:
            return await asyncio.to_thread(belief.look)
        told, answer = taken
        events, reason = await asyncio.to_thread(_judge, belief, told, answer.heard_s)
        self._refused = reason
        if not reason:
            self._version, self._told_s = told.version or told.nonce, answer.heard_s
        await answer.send(reason)
        self._is_large = len(told.table or b"") > _LARGE_BYTES
        return events


def _judge(belief: Belief, told: Told, heard_s: float) -> tuple[list[Event], str]:
    """What follows from a response, and why it is refused, where it is."""
    from interceptor.source.nds import NoNameTable

    if told.problem:
        return belief.refuse(told.problem), told.problem
    if told.table is None:
        return belief.look(), ""  # it says nothing; as Istio's agent, what was holds
    try:
        return belief.take(told.table, monotonic() - heard_s), ""
    except NoNameTable as error:
        _log.error("control plane: %s", error)
        return belief.refuse(str(error)), str(error)


async def _save_last(belief: Belief, saving: asyncio.Task[None] | None) -> None:
    if saving is not None:
        await asyncio.wait({saving})
    await asyncio.to_thread(lambda: belief.save(is_last=True))
