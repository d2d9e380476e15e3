"""Documents in files and folders as a source.

A file that is wrong keeps what it said when it was last right, and the others
go on: one slip in one file must not freeze the mesh.
"""

from __future__ import annotations

import gc
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from interceptor import config
from interceptor.errors import ConfigError, Problem
from interceptor.mesh import parse
from interceptor.mesh.build import Inventory
from interceptor.mesh.table import MeshTable
from interceptor.source import state
from interceptor.source.event import Event, Loaded, Rejected
from interceptor.source.pending import Pending, Signature, signature
from interceptor.source.watch import existing, follow

SUFFIXES = (".yaml", ".yml", ".json")
_log = logging.getLogger(__name__)

_SHOWN = 5  # ignored documents that the log names


def load(mesh: config.Mesh, node: config.Node) -> MeshTable:
    """The table of ``mesh.files`` as they are. Writes nothing.

    Addresses are those that the daemon wrote down, as far as they can be read,
    else those that it would give. Raises ConfigError with every problem.
    """
    shelf = Shelf(mesh, node)
    events = shelf.look(frozenset())
    for event in events:
        if isinstance(event, Rejected):
            raise ConfigError(event.problems)
    return next(event.table for event in events if isinstance(event, Loaded))


def watch(mesh: config.Mesh, node: config.Node) -> AsyncIterator[Event]:
    """The table now and whenever a file has changed; VIPs are written down.

    The first events come at once: a Rejected if something is wrong, and then a
    Loaded with whatever is right, so that a daemon that starts beside a wrong
    file still serves the others.
    """
    return follow(Shelf(mesh, node))


class Shelf:
    """The files of the mesh, and what they said when they were last right."""

    def __init__(
        self, mesh: config.Mesh, node: config.Node, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._mesh, self._clock = mesh, clock
        allocation = state.read(mesh)
        self._inventory = Inventory(node.namespace, node.domain, allocation)
        self._saved = allocation.changes
        self._read: dict[str, Signature] = {}
        self._pending = Pending()
        self._bad: dict[str, tuple[Problem, ...]] = {}
        self._problems: tuple[Problem, ...] = ()
        self._is_first = True

    def folders(self) -> set[str]:
        """Every folder that holds or could hold a document, links' targets included."""
        found: set[str] = set()
        for path in self._mesh.files:
            found.add(existing(path.absolute().parent))
            found.add(existing(path.resolve()))
            if path.is_dir():
                found.update(folder for folder, _, _ in _walk(path))
            elif path.is_symlink():
                found.add(existing(path.resolve().parent))
        return found

    @property
    def is_waiting(self) -> bool:
        return len(self._pending) > 0

    def look(self, whole: frozenset[str]) -> list[Event]:
        start = self._clock()
        seen, missing = self._observe()
        changed = {path for path in seen if seen[path] != self._read.get(path)}
        # What a missing file or folder has said holds until it is there again.
        gone = {path for path in self._read if path not in seen and not _is_below(path, missing)}
        self._pending.keep(changed | gone)
        ready = [
            path
            for path in sorted(changed | gone)
            if self._pending.is_over(
                path, seen.get(path), start, self._is_first or (path in changed and path in whole)
            )
        ]
        with _uncollected():
            for path in ready:
                if path in gone:
                    self._inventory.remove(path)
                    self._read.pop(path)
                    self._bad.pop(path, None)
                else:
                    self._take(path, seen[path])
            return self._tell({**self._bad, **missing}, bool(ready), start)

    def save(self) -> None:
        allocation = self._inventory.allocation
        changes = allocation.changes
        if changes == self._saved:
            return
        try:
            state.write(self._mesh, allocation)
        except OSError as error:
            _log.warning("VIPs could not be written to %s: %s", self._mesh.state_dir, error)
        else:
            self._saved = changes

    def _observe(self) -> tuple[dict[str, Signature], dict[str, tuple[Problem, ...]]]:
        """Signature of each file, in order of their paths; what is missing."""
        seen: dict[str, Signature] = {}
        missing: dict[str, tuple[Problem, ...]] = {}
        for path in self._mesh.files:
            try:
                found = _files(path) if path.is_dir() else [str(path)]
                seen.update((name, signature(os.stat(name))) for name in found)
            except OSError as error:
                problem = Problem("config", "mesh.files", str(path), f"readable: {error.strerror}")
                missing[str(path)] = (problem,)
        return dict(sorted(seen.items())), missing

    def _take(self, path: str, as_seen: Signature) -> None:
        """Reads one file; where it is wrong, what it said before still holds."""
        self._read[path] = as_seen
        self._bad.pop(path, None)
        try:
            data = Path(path).read_bytes()
            parsed = parse.parse(data, path, self._inventory.pieces(path))
        except ConfigError as error:
            self._bad[path] = error.problems
        except OSError as error:
            legal = f"readable: {error.strerror}"
            self._bad[path] = (Problem(path, "(file)", path, legal),)
        else:
            self._inventory.replace(path, parsed.pieces)
            _report(path, parsed.ignored)

    def _tell(
        self, problems: dict[str, tuple[Problem, ...]], is_news: bool, start: float
    ) -> list[Event]:
        flat = tuple(problem for path in sorted(problems) for problem in problems[path])
        was, self._problems = self._problems, flat
        events: list[Event] = []
        if flat and flat != was:
            events.append(Rejected(flat))
        is_mended = bool(was) and not flat
        if is_news or self._is_first or is_mended:
            table, difference = self._inventory.build()
            if difference or self._is_first or is_mended:
                events.append(Loaded(table, difference, self._clock() - start, flat))
        self._is_first = False
        return events


def _is_below(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(folder + os.sep) for folder in folders)


def _report(path: str, ignored: tuple[str, ...]) -> None:
    """One line a file for documents of kinds that mean nothing here."""
    if ignored:
        more = f" and {len(ignored) - _SHOWN} more" if len(ignored) > _SHOWN else ""
        _log.info("%s: ignored %s%s", path, ", ".join(ignored[:_SHOWN]), more)


def _walk(folder: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """The folders below, without hidden ones: a ConfigMap keeps its versions in such."""
    for here, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield here, folders, files


def _files(folder: Path) -> list[str]:
    return [
        os.path.join(here, name)
        for here, _, files in _walk(folder)
        for name in files
        if name.endswith(SUFFIXES) and not name.startswith(".")
    ]


@contextmanager
def _uncollected() -> Iterator[None]:
    """No cyclic garbage collection meanwhile.

    Reading makes objects by the million and no cycles; the collector would walk
    them again and again, a quarter of the whole time.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
