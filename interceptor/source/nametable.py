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
from interceptor.source.pending import Pending, Signature, signature
from interceptor.source.watch import existing, follow


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
        self._book = nametable.Book(str(path))
        self._table = EMPTY
        self._read: Signature | None = None
        self._pending = Pending()
        self._problems: tuple[Problem, ...] = ()
        self._is_first = True

    def folders(self) -> set[str]:
        path = self._path.absolute()
        return {existing(path.parent), existing(self._path.resolve().parent)}

    @property
    def is_waiting(self) -> bool:
        return len(self._pending) > 0

    def look(self, whole: frozenset[str]) -> list[Event]:
        start = self._clock()
        try:
            seen = signature(os.stat(self._path))
        except OSError as error:
            self._read = None
            return self._refuse((_unreadable(self._path, error),))
        path = str(self._path.absolute())
        if seen == self._read:
            self._pending.keep(set())
        elif self._pending.is_over(path, seen, start, self._is_first or path in whole):
            self._read = seen
            return self._take(start)
        return []

    def save(self) -> None:
        """Nothing: the name table brings its own addresses."""

    def _take(self, start: float) -> list[Event]:
        try:
            table = self._book.parse(self._path.read_bytes())
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
