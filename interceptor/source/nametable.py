"""istiod's name table in a file as a source."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from interceptor import config
from interceptor.errors import ConfigError, Problem
from interceptor.mesh import nametable
from interceptor.mesh.table import EMPTY, MeshTable, diff
from interceptor.source.event import Event, Loaded, Rejected
from interceptor.source.watch import existing, follow

Signature = tuple[int, int, int]  # time of change in ns, size, inode


def load(mesh: config.Mesh) -> MeshTable:
    """The table of ``mesh.nametable`` as it is. Raises ConfigError with every problem."""
    path = _path(mesh)
    try:
        return nametable.parse(path.read_bytes(), str(path))
    except OSError as error:
        raise ConfigError([_unreadable(path, error)]) from error


def watch(mesh: config.Mesh) -> AsyncIterator[Event]:
    """The table now, and whenever the file has changed."""
    return follow(Page(_path(mesh)))


def _path(mesh: config.Mesh) -> Path:
    if mesh.nametable is None:
        legal = "a file, because mesh.source is nametable"
        raise ConfigError([Problem("config", "mesh.nametable", "null", legal)])
    return mesh.nametable


def _unreadable(path: Path, error: OSError) -> Problem:
    return Problem("config", "mesh.nametable", str(path), f"readable: {error.strerror}")


class Page:
    """The file, and the table that it said when it was last right."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = path, clock
        self._table = EMPTY
        self._read: Signature | None = None
        self._seen: Signature | None = None
        self._problems: tuple[Problem, ...] = ()
        self._is_first = True
        self.is_waiting = False

    def folders(self) -> set[str]:
        path = self._path.absolute()
        return {existing(path.parent), existing(self._path.resolve().parent)}

    def look(self, whole: frozenset[str], settled: bool) -> list[Event]:
        start = self._clock()
        try:
            status = os.stat(self._path)
        except OSError as error:
            self._read = None
            return self._refuse((_unreadable(self._path, error),))
        seen = (status.st_mtime_ns, status.st_size, status.st_ino)
        before, self._seen = self._seen, seen
        if seen == self._read:
            return []
        is_whole = str(self._path.absolute()) in whole
        self.is_waiting = not (is_whole or (settled and (self._is_first or seen == before)))
        if self.is_waiting:
            return []
        self._read = seen
        return self._take(start)

    def save(self) -> None:
        """Nothing: the name table brings its own addresses."""

    def _take(self, start: float) -> list[Event]:
        try:
            data = self._path.read_bytes()
            table = nametable.parse(data, str(self._path), self._table.hosts)
        except ConfigError as error:
            return self._refuse(error.problems)
        except OSError as error:
            return self._refuse((_unreadable(self._path, error),))
        difference = diff(self._table, table)
        was_wrong, self._problems = bool(self._problems), ()
        is_first, self._is_first = self._is_first, False
        self._table = table
        if not (difference or is_first or was_wrong):
            return []
        return [Loaded(table, difference, self._clock() - start)]

    def _refuse(self, problems: tuple[Problem, ...]) -> list[Event]:
        is_news = problems != self._problems
        self._problems = problems
        return [Rejected(problems)] if is_news else []
