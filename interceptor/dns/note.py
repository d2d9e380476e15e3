"""How a way in tells of a query while somebody traces: begun before it is decided, ended after.

The process is looked for at the beginning: it waits for its answer then, and may be gone
a moment later. That costs some 50 µs, so it is bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

from interceptor.dns import sighting
from interceptor.dns.sighting import Flow
from interceptor.host.process import NOBODY, Finder, Process
from interceptor.host.socketdiag import End

SOUGHT = 500  # processes in a second: about 3 % of it


@dataclass(slots=True)
class Noted:
    """One query on its way. ``query`` and ``answer`` are packets, or DNS messages where
    ``is_stream``; times are CLOCK_MONOTONIC's."""

    plane: str
    query: bytes
    flow: Flow = sighting.NOBODY
    is_stream: bool = False
    who: Process = NOBODY
    began_s: float = 0.0
    took_s: float = 0.0
    answer: bytes | None = None


class Watchable(Protocol):
    """A way in: tells each query by ``note`` from now on; None: nobody asks."""

    def watch(self, note: Note | None) -> None: ...


class Note:
    """One thread's. ``tell`` takes what is whole; cheap, from any thread."""

    def __init__(self, tell: Callable[[Noted], None]) -> None:
        self._tell = tell
        self._finder = Finder()
        self._second = 0
        self._sought = 0

    def close(self) -> None:
        self._finder.close()

    def begin(self, plane: str, packet: bytes, *, is_ours: bool = True) -> Noted:
        """A UDP packet. ``is_ours``: from a socket of this network namespace."""
        noted = Noted(plane, packet)
        # Whatever goes wrong with telling must not change what is told.
        try:
            noted.flow = sighting.flow(packet)
            if is_ours and self._may_seek():
                noted.who = self._finder.find("udp", noted.flow[:2], noted.flow[2:])
        except Exception:
            noted.who = NOBODY
        noted.began_s = monotonic()
        return noted

    def begin_message(self, flow: Flow, message: bytes, remote: End) -> Noted:
        """A message over TCP. ``remote`` is the other end of the client's own socket."""
        noted = Noted("tcp", message, flow, is_stream=True)
        try:
            if self._may_seek():
                noted.who = self._finder.find("tcp", flow[:2], remote)
        except Exception:
            noted.who = NOBODY
        noted.began_s = monotonic()
        return noted

    def end(self, noted: Noted, answer: bytes | None) -> None:
        """It has been decided, and how. None: the query goes on as it was."""
        noted.took_s = monotonic() - noted.began_s
        noted.answer = answer
        self._tell(noted)

    def _may_seek(self) -> bool:
        second = int(monotonic())
        if second != self._second:
            self._second, self._sought = second, 0
        self._sought += 1
        return self._sought <= SOUGHT
