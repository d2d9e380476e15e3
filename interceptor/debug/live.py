"""`interceptor top` on a terminal: views are drawn as they come, keys followed meanwhile."""

from __future__ import annotations

from interceptor.debug import board
from interceptor.debug.board import Screen
from interceptor.debug.lookout import Lookout
from interceptor.debug.terminal import Terminal
from interceptor.debug.top import View

POLL_S = 0.25  # a terminal that was made larger or smaller is seen within that time


class Live:
    """One terminal's screen over a lookout. `run` it once."""

    def __init__(self, lookout: Lookout, terminal: Terminal, screen: Screen) -> None:
        self._lookout = lookout
        self._terminal = terminal
        self._screen = screen
        self._view: View | None = None

    def run(self, interval_s: float, limit: int = 0) -> None:
        """Until the user has seen enough, or so many intervals. Raises InterceptorError where no
        daemon answers at the beginning."""
        for view in self._lookout.views(lambda passed_s: self._wait(interval_s - passed_s), limit):
            if not self._screen.is_paused:
                self._view = view
            self._draw()

    def _draw(self) -> None:
        width, height = self._terminal.size
        if self._view is not None:
            self._terminal.draw(board.render(self._view, self._screen, width, height))

    def _wait(self, left_s: float) -> bool:
        """Follow keys for so long. Whether to go on."""
        size = self._terminal.size
        while left_s > 0 and not self._screen.is_over:
            turn_s = min(left_s, POLL_S)
            left_s -= turn_s
            before = self._screen
            for key in self._terminal.recv(turn_s):
                self._screen = board.press(self._screen, key)
            if self._screen != before or self._terminal.size != size:
                size = self._terminal.size
                self._draw()
        return not self._screen.is_over
