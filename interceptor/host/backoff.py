"""How long to wait before the next attempt."""

from __future__ import annotations

import random
from collections.abc import Callable

FIRST_S, LONGEST_S, GROWTH = 0.5, 20.0, 1.6


class Backoff:
    """Grows with each attempt in vain; between half and the whole of it is drawn, so that the
    members of a mesh do not come back all at once."""

    def __init__(
        self,
        first_s: float = FIRST_S,
        longest_s: float = LONGEST_S,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._first_s, self._longest_s, self._draw = first_s, longest_s, draw
        self._now_s = first_s

    def next_s(self) -> float:
        """Seconds to wait now."""
        wait_s = self._now_s * (0.5 + self._draw() / 2)
        self._now_s = min(self._now_s * GROWTH, self._longest_s)
        return wait_s

    def reset(self) -> None:
        """It went well."""
        self._now_s = self._first_s
