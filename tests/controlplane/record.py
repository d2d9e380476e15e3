"""What the control plane was told, as JSON lines and for tests to wait for."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Line = Mapping[str, Any]


class Record:
    """Every line has ``what`` and ``at_s`` (monotonic). Threads may write and wait at will."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lines: list[Line] = []
        self._changed = threading.Condition()

    def write(self, what: str, **more: object) -> None:
        line = {"what": what, "at_s": round(time.monotonic(), 4), **more}
        with self._changed:
            self._lines.append(line)
            if self._path is not None:
                with self._path.open("a") as file:
                    file.write(json.dumps(line, default=str) + "\n")
            self._changed.notify_all()

    def lines(self, what: str = "", since: int = 0, **like: object) -> list[Line]:
        """The lines of one kind whose fields are like these, from the ``since``-th of all on."""
        with self._changed:
            return _choose(self._lines[since:], what, like)

    def __len__(self) -> int:
        with self._changed:
            return len(self._lines)

    def wait(
        self,
        what: str,
        timeout_s: float = 20,
        *,
        since: int = 0,
        where: Callable[[Line], bool] = lambda line: True,
        **like: object,
    ) -> Line:
        """The first such line, once it is there. Raises AssertionError, with all that is."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while True:
                for line in _choose(self._lines[since:], what, like):
                    if where(line):
                        return line
                left = deadline - time.monotonic()
                if left <= 0:
                    told = "\n".join(map(str, self._lines[since:][-40:]))
                    raise AssertionError(f"no {what} {dict(like)} within {timeout_s} s:\n{told}")
                self._changed.wait(left)


def _choose(lines: list[Line], what: str, like: Mapping[str, object]) -> list[Line]:
    return [
        line
        for line in lines
        if (not what or line["what"] == what)
        and all(line.get(key) == value for key, value in like.items())
    ]
