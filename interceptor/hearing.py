"""The daemon's decisions, heard by another process of this program while they are made."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue

from interceptor.debug import control, event, selection
from interceptor.debug.event import Event
from interceptor.debug.selection import Selection
from interceptor.errors import InterceptorError

_AGAIN_S = 1.0
_MOST_TOLD = 10_000  # events that wait to be read


@dataclass(slots=True)
class Listener:
    """The daemon's decisions, read by a thread of its own while a capture runs."""

    run_dir: Path
    heard: int = 0
    left_out: int = 0
    trouble: str = ""
    _events: SimpleQueue[Event] = field(default_factory=SimpleQueue)
    _ends: threading.Event = field(default_factory=threading.Event)

    def open(self) -> None:
        threading.Thread(target=self._listen, name="decisions", daemon=True).start()

    def close(self) -> None:
        """The thread goes with the process, or with the next line that it reads."""
        self._ends.set()

    def read(self) -> Iterator[Event]:
        """What has come since the last time."""
        while True:
            try:
                yield self._events.get_nowait()
            except Empty:
                return

    def _listen(self) -> None:
        page = selection.encode(Selection(rate=selection.MAXIMUM_RATE))
        while not self._ends.is_set():
            try:
                self._follow(page)
            except InterceptorError as error:
                self.trouble = str(error)
            self._ends.wait(_AGAIN_S)  # a daemon that begins, or begins again, is heard too

    def _follow(self, page: str) -> None:
        for line in control.stream(self.run_dir, page):
            if self._ends.is_set():
                return
            self.trouble = ""
            if "left_out" in line:
                self.left_out += int(str(line["left_out"]))
            elif self._events.qsize() < _MOST_TOLD:
                try:
                    self._events.put(event.decode(line))
                    self.heard += 1
                except ValueError:
                    self.left_out += 1  # of a daemon of another version
            else:
                self.left_out += 1
