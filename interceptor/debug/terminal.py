"""A terminal that is drawn on as a whole, and its keys one by one. The rim: nothing is decided.

rich's Live draws; it is a dependency already, and what is left to do, a key at a time, is
termios(3).
"""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from collections.abc import Iterable
from typing import TYPE_CHECKING

from interceptor.debug.boardhead import Line, Tone

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

STYLES = {
    Tone.PLAIN: "",
    Tone.TITLE: "bold",
    Tone.HEAD: "reverse",
    Tone.ALERT: "bold red",
    Tone.KEYS: "cyan",
}
ESCAPE = "\x1b"


class Terminal:
    """Standard output and input, both terminals. Use as a context manager."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console: Console = Console(highlight=False)
        self._live: Live = Live(console=self._console, screen=True, auto_refresh=False)
        self._before: list[object] = []

    def __enter__(self) -> Terminal:
        self._before = termios.tcgetattr(sys.stdin)
        tty.setcbreak(sys.stdin)
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)  # type: ignore[arg-type]

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines, now."""
        return self._console.size.width, self._console.size.height

    def draw(self, lines: Iterable[Line]) -> None:
        """Show exactly these."""
        from rich.text import Text

        text = Text("\n", no_wrap=True, overflow="crop").join(
            Text(line.text, STYLES[line.tone]) for line in lines
        )
        self._live.update(text, refresh=True)

    def recv(self, timeout_s: float) -> list[str]:
        """The keys that come within that time; empty where none does."""
        if not select.select([sys.stdin], [], [], max(0.0, timeout_s))[0]:
            return []
        return decode(os.read(sys.stdin.fileno(), 256))


def decode(data: bytes) -> list[str]:
    """Single keys of what a terminal sent; an arrow or function key is none of ours. An empty
    read is a terminal that has gone: that of Ctrl-D."""
    if not data:
        return ["\x04"]
    text = data.decode(errors="replace")
    if text.startswith(ESCAPE) and len(text) > 1:
        return []
    return list(text)
