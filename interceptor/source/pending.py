"""Changes of files that may still be going on."""

from __future__ import annotations

import os

SETTLE_S = 0.05  # how long a file must stay as it is, unless its writer is known to be done

Signature = tuple[int, int, int]  # time of change in ns, size, inode


def signature(status: os.stat_result) -> Signature:
    return (status.st_mtime_ns, status.st_size, status.st_ino)


class Pending:
    """Since when each changed file has been as it is now.

    A file that is gone counts as changed, too: editors and `mv` take a file
    away a moment before they put the new one there.
    """

    def __init__(self) -> None:
        self._since: dict[str, tuple[Signature | None, float]] = {}

    def __len__(self) -> int:
        return len(self._since)

    def is_over(self, path: str, now: Signature | None, clock_s: float, is_whole: bool) -> bool:
        """Whether ``path``, whose signature is ``now`` (None: gone), may be read."""
        since = self._since.get(path)
        if since is None or since[0] != now:
            since = self._since[path] = (now, clock_s)
        if is_whole or clock_s - since[1] >= SETTLE_S:
            del self._since[path]
            return True
        return False

    def keep(self, paths: set[str]) -> None:
        """Forgets all others: they are again as they were when they were read."""
        for path in self._since.keys() - paths:
            del self._since[path]
