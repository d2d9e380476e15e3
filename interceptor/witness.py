"""What this daemon can tell live: the DNS worker's decisions as events, and who else tells."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import lru_cache
from time import monotonic

from interceptor import onlooker
from interceptor.debug import event as events
from interceptor.debug.event import Event, Kind, Sink
from interceptor.debug.trace import Hub
from interceptor.dns import sighting
from interceptor.dns.frame import Seen
from interceptor.dns.plane import Plane
from interceptor.dns.sighting import ORIGIN, Sighting
from interceptor.errors import InterceptorError
from interceptor.host.endure import endure
from interceptor.running import Running

LEASE_S = 3.0  # the worker falls silent so long after a daemon that is gone
RENEW_S = 1.0
FIRST_S = 2.0  # until the worker says that it tells


class Witness:
    """The DNS worker as a source. ``plane`` gives the one of now, ``origin`` what a host's name
    comes from."""

    def __init__(self, plane: Callable[[], Plane | None], origin: Callable[[str], str]) -> None:
        self.left_out = 0
        self._plane = plane
        self._origin = origin
        self._sink: Sink | None = None
        self._task: asyncio.Task[object] | None = None
        self._has_told = asyncio.Event()

    async def open(self, sink: Sink) -> None:
        plane = self._plane()
        if plane is None:
            return
        self._sink = sink
        self._has_told.clear()
        plane.on_seen = self._take
        self._task = asyncio.create_task(endure("the trace's lease", self._renew))
        try:
            async with asyncio.timeout(FIRST_S):
                await self._has_told.wait()
        except TimeoutError as error:
            raise InterceptorError("the DNS worker is away; it tells once it is back") from error

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if (plane := self._plane()) is not None:
            plane.on_seen = None
            await plane.trace(0.0)

    async def _renew(self) -> None:
        while (plane := self._plane()) is not None:
            await plane.trace(monotonic() + LEASE_S)
            await asyncio.sleep(RENEW_S)

    def _take(self, seen: Seen) -> None:
        self._has_told.set()
        self.left_out += seen.lost
        if self._sink is None:
            return
        for row in seen.rows:
            # One row that cannot be told must not end the worker that told it.
            try:
                self._sink(build(row, self._origin))
            except Exception:
                self.left_out += 1


def build(row: Sighting, origin: Callable[[str], str]) -> Event:
    """The event of one query."""
    source, source_port, destination, port = row.flow
    return Event(
        time_s=events.observe_date(row.at_s),
        kind=Kind.DNS,
        plane=row.plane,
        verdict=row.verdict,
        protocol=row.protocol,
        source=source,
        source_port=source_port,
        destination=destination,
        port=port,
        name=row.name,
        qtype=row.qtype,
        answers=_texts(row.answer[2:]),
        host=row.host,
        why=_told(row, origin),
        took_s=row.took_s,
        uid=row.uid,
        pid=row.pid,
        comm=row.comm,
        unit=row.unit,
    )


@lru_cache(maxsize=4096)
def _texts(answer: bytes) -> tuple[str, ...]:
    """Of an answer without its id: the same ones come again and again."""
    return sighting.texts(b"\0\0" + answer)


def _told(row: Sighting, origin: Callable[[str], str]) -> str:
    """The reason as `resolve` gives it."""
    if ORIGIN not in row.why:
        return row.why
    words = origin(row.host)
    return row.why.replace(f" ({ORIGIN})", f" ({words})" if words else "")


def hub(daemon: Running) -> Hub:
    """Everything of a daemon that can tell, off until somebody listens."""

    def origin(name: str) -> str:
        host = daemon.table.hosts.get(name)
        return host.origin if host is not None else ""

    def own() -> tuple[int, ...]:
        worker = daemon.plane.pid if daemon.plane is not None else None
        return (os.getpid(), worker) if worker else (os.getpid(),)

    return Hub([Witness(lambda: daemon.plane, origin), *onlooker.sources(daemon)], own)
