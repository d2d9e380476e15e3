"""How much may be done in a second; what goes beyond is counted and left out."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic


class Allowance:
    """``each_s`` times a second, which may be saved up for one second."""

    def __init__(self, each_s: int, clock: Callable[[], float] = monotonic) -> None:
        self._each_s = each_s
        self._clock = clock
        self._left, self._at_s = float(each_s), clock()
        self.refused = 0

    def take(self) -> bool:
        """Whether one more is allowed."""
        now = self._clock()
        self._left = min(self._each_s, self._left + (now - self._at_s) * self._each_s)
        self._at_s = now
        if self._left < 1:
            self.refused += 1
            return False
        self._left -= 1
        return True
