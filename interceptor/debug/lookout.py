"""One look after another at the daemon of this host, and what it tells in between.

Status, figures and the sidecar's clusters are asked for over the control socket; live
decisions are followed by a thread, which begins again where the daemon does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Self, cast

from interceptor.debug import control, reading, selection, top
from interceptor.debug.ranking import Ranking
from interceptor.debug.reading import Reading
from interceptor.debug.selection import Selection
from interceptor.debug.top import View
from interceptor.errors import InterceptorError

RATE = 5000  # decisions a second that are looked at: about a tenth of a core; others are counted
AGAIN_S = 1.0  # before the stream is asked for again
END_S = 0.1  # nobody waits for the thread: it ends with the next line, which is a second away


@dataclass(frozen=True, slots=True)
class Look:
    """What there is to see now, and what was told since the look before."""

    reading: Reading
    told: Ranking


class Lookout:
    """``run_dir`` is the daemon's. Without ``follows`` nobody asks for live decisions, and the
    daemon has no work with them. Use as a context manager."""

    def __init__(self, run_dir: Path, *, follows: bool = True) -> None:
        self._run_dir = run_dir
        self._lock = threading.Lock()
        self._told = Ranking()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="trace", daemon=True)
        self._follows = follows

    def __enter__(self) -> Self:
        if self._follows:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        if self._follows:
            self._thread.join(END_S)

    def views(self, wait: Callable[[float], bool], limit: int = 0) -> Iterator[View]:
        """A view of each interval, at most so many; 0: on and on. ``wait`` is given what time
        has passed since the last look, and waits for the next; False: there is none.

        Raises InterceptorError where no daemon answers at the beginning. One that is away
        later is told of by the view, until it is back.
        """
        good = self.observe().reading
        if good.problem:
            raise InterceptorError(good.problem)
        looked_s, shown = good.at_s, 0
        while wait(monotonic() - looked_s):
            look = self.observe()
            yield top.build(good, look.reading, look.told)
            looked_s, shown = look.reading.at_s, shown + 1
            if shown == limit:
                return
            if not look.reading.problem:
                good = look.reading

    def observe(self) -> Look:
        """Never raises for a daemon that is away: the reading tells of that."""
        found = self._read()
        with self._lock:
            told, self._told = self._told, Ranking()
        return Look(found, told)

    def _read(self) -> Reading:
        at_s = monotonic()
        try:
            status = control.request(self._run_dir, "GET", "/status")
            figures = reading.parse_figures(control.fetch(self._run_dir, "/metrics"))
            usage = control.request(self._run_dir, "GET", "/sidecar")
        except (InterceptorError, ValueError) as error:
            return Reading(at_s, problem=str(error))
        clusters = tuple(
            each for each in reading.listed(usage, "clusters") if isinstance(each, Mapping)
        )
        return Reading(at_s, cast("Mapping[str, object]", status), figures, clusters)

    def _follow(self) -> None:
        while not self._ends.is_set():
            try:
                self._listen()
            except InterceptorError as error:
                with self._lock:
                    self._told.notes[f"no live decisions: {error}"] = None
            self._ends.wait(AGAIN_S)

    def _listen(self) -> None:
        lines = control.stream(self._run_dir, selection.encode(Selection(rate=RATE)))
        for line in lines:
            if self._ends.is_set():
                return
            with self._lock:
                self._told.take(line)
