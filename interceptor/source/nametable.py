"""istiod's name table in a file as a source."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from interceptor import config
from interceptor.errors import ConfigError, Problem
from interceptor.mesh import nametable
from interceptor.mesh.table import EMPTY, MeshTable, diff
from interceptor.source import listing
from interceptor.source.event import Event, Loaded, Rejected, Standing
from interceptor.source.pending import Pending, Signature, signature
from interceptor.source.store import NAME, Store
from interceptor.source.watch import existing, follow

_log = logging.getLogger(__name__)
_EMPTIED = "at least one host; what there was holds. Where none is meant: mesh.allow_empty"


def load(mesh: config.Mesh) -> MeshTable:
    """The table of ``mesh.nametable`` as it is. Raises ConfigError with every problem."""
    path = _path(mesh)
    try:
        return nametable.parse(listing.recv(str(path), mesh.max_file_bytes), str(path))
    except OSError as error:
        raise ConfigError([_unreadable(path, error)]) from error


def recall(mesh: config.Mesh) -> tuple[MeshTable, tuple[Problem, ...]]:
    """As `load`, but where the file is refused what it last said, as far as a daemon wrote it
    down, and what is wrong with it now. Writes nothing."""
    found: tuple[MeshTable, tuple[Problem, ...]] = (EMPTY, ())
    for event in Page(mesh, Store(mesh.state_dir / NAME, "nametable")).look(frozenset()):
        if isinstance(event, Loaded):
            found = (event.table, event.problems)
        else:
            found = (found[0], event.problems)
    return found


def watch(mesh: config.Mesh) -> AsyncIterator[Event]:
    """The table now, and whenever the file has changed; what was right is written down."""
    return follow(Page(mesh, Store(mesh.state_dir / NAME, "nametable")))


def _path(mesh: config.Mesh) -> Path:
    if mesh.nametable is None:
        legal = "a file, because mesh.source is nametable"
        raise ConfigError([Problem("config", "mesh.nametable", "null", legal)])
    return mesh.nametable


def _unreadable(path: Path, error: OSError) -> Problem:
    return Problem("config", "mesh.nametable", str(path), f"readable: {error.strerror}")


class Page:
    """The file, and the table that it said when it was last right, be it to a daemon before
    this one: ``store`` has it under the file's path."""

    def __init__(
        self,
        mesh: config.Mesh,
        store: Store | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._mesh, self._path, self._clock = mesh, _path(mesh), clock
        self._name = str(self._path)
        self._store = store or Store(None)
        self._book = nametable.Book(self._name)
        self._table = EMPTY
        self._read: Signature | None = None
        self._pending = Pending()
        self._problems: tuple[Problem, ...] = ()
        self._is_first = True
        self._is_recalled = False

    def folders(self) -> set[str]:
        path = self._path.absolute()
        return {existing(path.parent), existing(self._path.resolve().parent)}

    @property
    def is_waiting(self) -> bool:
        return len(self._pending) > 0

    @property
    def is_unsaved(self) -> bool:
        return self._store.is_due

    def save(self, *, is_last: bool = False) -> None:
        """The table alone: it brings its own addresses."""
        self._store.save(is_last=is_last)
        if is_last:
            self._store.close()

    def look(self, whole: frozenset[str]) -> list[Event]:
        start = self._clock()
        try:
            seen = signature(os.stat(self._path))
        except OSError as error:
            self._read = None
            return self._refuse((_unreadable(self._path, error),), start)
        path = str(self._path.absolute())
        if seen == self._read:
            self._pending.keep(set())
            return self._refuse(self._problems, start) if self._problems else []
        if not self._pending.is_over(path, seen, start, self._is_first or path in whole):
            return []
        self._read = seen
        return self._take(start)

    def _take(self, start: float) -> list[Event]:
        try:
            data = listing.recv(self._name, self._mesh.max_file_bytes)
            table = self._book.parse(data)
            if not table and not self._mesh.allow_empty and self._has_said():
                problem = Problem(self._name, "table", "{}", _EMPTIED)
                return self._refuse((problem,), start)
        except ConfigError as error:
            return self._refuse(error.problems, start)
        except OSError as error:
            self._read = None  # no descriptors left, a disk that fails: it may pass
            return self._refuse((_unreadable(self._path, error),), start)
        self._store.put(self._name, data)
        was_wrong, self._problems = bool(self._problems), ()
        self._is_recalled = False
        return self._adopt(table, start, was_wrong)

    def _has_said(self) -> bool:
        """Whether there were hosts when the table was last right."""
        return len(self._table if not self._is_first else self._recall()) > 0

    def _adopt(self, table: MeshTable, start: float, is_mended: bool) -> list[Event]:
        difference = diff(self._table, table)
        is_first, self._is_first = self._is_first, False
        self._table = table
        if not (difference or is_first or is_mended):
            return []
        elapsed_s = self._clock() - start
        return [Loaded(table, difference, elapsed_s, self._problems, self._standing())]

    def _refuse(self, problems: tuple[Problem, ...], start: float) -> list[Event]:
        """What the table was holds; at the start that is what a daemon before this one knew."""
        self._store.hold(self._name)
        limit_s = self._mesh.max_stale_s
        is_stale = limit_s and self._store.age_s((self._name,)) > limit_s
        problems = tuple(dict.fromkeys((*problems, *((_stale(limit_s),) if is_stale else ()))))
        is_news = problems != self._problems
        self._problems = problems
        events: list[Event] = []
        table = self._recall() if self._is_first else EMPTY
        self._is_recalled = self._is_recalled or len(table) > 0
        if is_news:
            events.append(Rejected(problems, self._standing()))
        return events + self._adopt(table, start, False) if len(table) else events

    def _recall(self) -> MeshTable:
        data = self._store.get(self._name)
        if data is None:
            return EMPTY
        try:
            return self._book.parse(data)
        except ConfigError as error:
            _log.warning("what %s last said is not legal any more: %s", self._path, error)
            return EMPTY

    def _standing(self) -> Standing:
        held = 1 if self._problems and len(self._table) else 0
        return Standing(held, int(self._is_recalled), self._store.age_s((self._name,)))


def _stale(limit_s: int) -> Problem:
    legal = "what holds is older than that; mend mesh.nametable"
    return Problem("config", "mesh.max_stale_s", str(limit_s), legal)
