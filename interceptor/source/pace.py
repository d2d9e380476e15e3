"""How often something is written that changes all the time."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

PAUSE_S = 5.0  # between two writes
SHARE = 100  # of the time that a write takes, the rest is ours
RETRY_S = 30.0  # after one that failed: a full disk is not emptied by trying


class Pace:
    """At once after a quiet time; in a busy one never more than a hundredth of the time."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._began_s = self._due_s = clock()
        self.saved_s = self._began_s

    @property
    def is_due(self) -> bool:
        """Whether the next write may begin."""
        return self._clock() >= self._due_s

    @property
    def quiet_s(self) -> float:
        """Since the last write that went well, or since the beginning."""
        return self._clock() - self.saved_s

    def begin(self) -> None:
        """A write begins."""
        self._began_s = self._clock()
        self._due_s = self._began_s + PAUSE_S

    def end(self, *, is_done: bool) -> None:
        """It has ended."""
        now_s = self._clock()
        self._due_s = now_s + RETRY_S
        if is_done:
            self.saved_s = now_s
            self._due_s = self._began_s + max(PAUSE_S, SHARE * (now_s - self._began_s))
