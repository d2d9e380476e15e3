"""Live decisions for whoever listens: sources on one side, streams of lines on the other.

The sources are on while somebody listens, and off otherwise. Nobody waits for
anybody: a listener that is slow, or wants less, has what it could not be given
counted and told in its stream.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from time import monotonic

import orjson
import structlog

from interceptor.debug import event as events
from interceptor.debug import selection
from interceptor.debug.event import Event, Source
from interceptor.debug.selection import Selection
from interceptor.errors import InterceptorError

log = structlog.get_logger(__name__)

WAITING = 8192  # events kept for one listener: about 4 MiB
CHUNK = 500  # events encoded between two turns of the loop: about 2 ms
LISTENERS = 16
TURN_S = 1.0  # between two lines that say what was left out
HELD_S = 0.15  # each event waits so long for those that come later and were earlier


class TooMany(InterceptorError):
    """No further listener is taken."""


class Listener:
    """One stream's events, bounded in number and in rate. ``clock`` gives seconds."""

    def __init__(self, wanted: Selection, clock: Callable[[], float]) -> None:
        self.left_out = self.missed = 0  # since the last line that said so; in all
        self.arrived = asyncio.Event()
        self._wanted = wanted
        self._clock = clock
        self._waiting: list[tuple[float, Event]] = []  # when it came
        self._second = -1
        self._taken = self._given = 0
        self._until = clock() + wanted.duration_s if wanted.duration_s else float("inf")

    def offer(self, event: Event) -> None:
        """Take an event where it is wanted and there is room."""
        if not selection.decide(self._wanted, event):
            return
        second = int(self._clock())
        if second != self._second:
            self._second, self._taken = second, 0
        if self._taken >= self._wanted.rate or len(self._waiting) >= WAITING:
            self.left_out += 1
            self.missed += 1
            return
        self._taken += 1
        self._waiting.append((self._clock(), event))
        self.arrived.set()

    @property
    def is_over(self) -> bool:
        """Whether everything that was asked for has been given."""
        count = self._wanted.count
        return self._clock() >= self._until or bool(count and self._given >= count)

    def remaining_s(self, most_s: float) -> float:
        return max(0.0, min(most_s, self._until - self._clock()))

    def take(self, held_s: float = 0.0) -> bytes:
        """The next events as lines, in the order of their time: those that came ``held_s`` ago
        and what was earlier. Empty where there are none."""
        limit_s = self._clock() - held_s
        latest_s = max((one.time_s for at, one in self._waiting if at <= limit_s), default=None)
        if latest_s is None:
            return b""
        self._waiting.sort(key=_moment)
        room = min(CHUNK, bisect_right(self._waiting, latest_s, key=_moment))
        if self._wanted.count:
            room = min(room, self._wanted.count - self._given)
        self._given += room
        taken, self._waiting = self._waiting[:room], self._waiting[room:]
        if not self._waiting:
            self.arrived.clear()
        return b"".join(map(_line, taken))


def _moment(waiting: tuple[float, Event]) -> float:
    return waiting[1].time_s


def _line(waiting: tuple[float, Event]) -> bytes:
    return orjson.dumps(events.encode(waiting[1]), option=orjson.OPT_APPEND_NEWLINE)


class Hub:
    """All listeners of one daemon. ``clock`` gives seconds. ``own`` gives the daemon's own
    processes, whose doings are nobody's wish to see."""

    def __init__(
        self,
        sources: Sequence[Source],
        own: Callable[[], Collection[int]] = tuple,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._sources = tuple(sources)
        self._own = own
        self._clock = clock
        self._listeners: set[Listener] = set()
        self._missed = 0  # by listeners that have left
        self._lock = asyncio.Lock()  # sources are not opened and closed at once
        self._notes: tuple[str, ...] = ()
        self._ends = asyncio.Event()

    @property
    def listening(self) -> int:
        """How many listen now."""
        return len(self._listeners)

    @property
    def left_out(self) -> int:
        """Events that somebody wanted and nobody could tell, or not as fast; only ever grows."""
        return self._lost() + self._missed + sum(each.missed for each in tuple(self._listeners))

    def tell(self, event: Event) -> None:
        """The sources' `Sink`."""
        if event.pid and event.pid in self._own():
            return
        for listener in self._listeners:
            listener.offer(event)

    async def listen(self, wanted: Selection) -> AsyncGenerator[bytes, None]:
        """Lines of JSON, one event each. Lines ``{"left_out": N}`` say how many
        more were not told since the line before: the first once the sources are on, then
        one a second, which show that we live. One with a ``note`` tells of a source that
        cannot. Raises TooMany."""
        if len(self._listeners) >= LISTENERS or self._ends.is_set():
            raise TooMany(f"{len(self._listeners)} listen already; end one of them")
        listener = Listener(wanted, self._clock)
        try:
            await self._join(listener)
            known, told_s = self._lost(), self._clock()
            yield b"".join(_left_out(0, note) for note in ("", *self._notes))
            while not (self._ends.is_set() or listener.is_over):
                await self._wait(listener, TURN_S - (self._clock() - told_s))
                while lines := listener.take(0.0 if listener.is_over else HELD_S):
                    yield lines
                if self._clock() - told_s >= TURN_S or listener.is_over:
                    lost, told_s = self._lost(), self._clock()
                    yield _left_out(lost - known + listener.left_out)
                    known, listener.left_out = lost, 0
            while lines := listener.take():
                yield lines
        finally:
            await self._leave(listener)

    async def close(self) -> None:
        """End every stream, and the sources."""
        self._ends.set()
        for listener in self._listeners:
            listener.arrived.set()
        async with self._lock:
            await self._close_sources()

    async def _wait(self, listener: Listener, most_s: float) -> None:
        try:
            async with asyncio.timeout(listener.remaining_s(max(0.0, most_s))):
                await listener.arrived.wait()
                await asyncio.sleep(HELD_S)
        except TimeoutError:
            pass

    async def _join(self, listener: Listener) -> None:
        async with self._lock:
            self._listeners.add(listener)
            if len(self._listeners) > 1:
                return
            opened = (source.open(self.tell) for source in self._sources)
            found = await asyncio.gather(*opened, return_exceptions=True)
            self._notes = tuple(str(error) for error in found if isinstance(error, Exception))
            for note in self._notes:
                log.warning("trace: a source cannot tell", why=note)

    async def _leave(self, listener: Listener) -> None:
        self._listeners.discard(listener)
        self._missed += listener.missed
        async with self._lock:
            if not self._listeners:
                await self._close_sources()

    async def _close_sources(self) -> None:
        closed = (source.close() for source in self._sources)
        for error in await asyncio.gather(*closed, return_exceptions=True):
            if isinstance(error, Exception):
                log.warning("trace: a source could not be ended", why=str(error))

    def _lost(self) -> int:
        return sum(source.left_out for source in self._sources)


def _left_out(count: int, note: str = "") -> bytes:
    tree = {"left_out": count, "note": note} if note else {"left_out": count}
    return orjson.dumps(tree, option=orjson.OPT_APPEND_NEWLINE)
