"""Documents in files and folders as a source.

A file that is wrong keeps what it said when it was last right, and the others
go on: one slip in one file must not freeze the mesh. What was right is kept on
disk, too, for a start beside a wrong file, or without any.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import contextmanager

from interceptor import config
from interceptor.errors import ConfigError, Problem
from interceptor.mesh import field, parse, vip
from interceptor.mesh.build import Inventory
from interceptor.mesh.standing import Workplace
from interceptor.mesh.table import EMPTY, MeshTable
from interceptor.source import listing, state
from interceptor.source.event import Event, Loaded, Rejected
from interceptor.source.fault import Faults
from interceptor.source.listing import Listing
from interceptor.source.pace import RETRY_S, Pace
from interceptor.source.pending import Pending, Signature
from interceptor.source.store import NAME, Store
from interceptor.source.watch import existing, follow

_log = logging.getLogger(__name__)

_SHOWN = 5  # ignored documents that the log names
_UNREAD: Signature = (0, 0, 0)
_CUT_SHORT = (
    "documents; what it said holds, for so a full disk leaves a file. Where none are meant: "
    "a comment in it, or mesh.allow_empty"
)


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


def recall(mesh: config.Mesh, node: config.Node) -> tuple[MeshTable, tuple[Problem, ...]]:
    """As `load`, but beside refused files: what they said when they were last right, as far as
    a daemon wrote it down, and what is wrong with them now. Writes nothing."""
    shelf = Shelf(mesh, node, Store(mesh.state_dir / NAME, "files"))
    for event in shelf.look(frozenset()):
        if isinstance(event, Loaded):
            return event.table, event.problems
    return EMPTY, ()


def watch(mesh: config.Mesh, node: config.Node) -> AsyncIterator[Event]:
    """The table now and whenever a file has changed; VIPs and what was right are written down.

    The first events come at once: a Rejected if something is wrong, and then a
    Loaded with whatever is right or was when it was last read, so that a daemon that starts
    beside a wrong file still serves the others.
    """
    return follow(Shelf(mesh, node, Store(mesh.state_dir / NAME, "files")))


def workplace(node: config.Node) -> Workplace:
    """From where this VM looks at the mesh."""
    return Workplace(field.labels(node.labels), node.network, node.cluster)


class Shelf:
    """The files of the mesh, and what they said when they were last right.

    One thread looks and another saves; ``store`` keeps what was right for the next start.
    """

    def __init__(
        self,
        mesh: config.Mesh,
        node: config.Node,
        store: Store | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._mesh, self._clock = mesh, clock
        self._store = store or Store(None)
        self._faults = Faults(mesh, self._store)
        allocation = state.read(mesh)
        self._inventory = Inventory(node.namespace, node.domain, allocation, workplace(node))
        self._saved, self._pace = allocation.changes, Pace(clock)
        self._read: dict[str, Signature] = {}
        self._postponed: dict[str, float] = {}  # to when, for want of memory
        self._pending = Pending()
        self._problems: tuple[Problem, ...] = ()
        self._is_first = True
        self._lock = threading.Lock()

    def folders(self) -> set[str]:
        """Every folder that holds or could hold a document, links' targets included."""
        found: set[str] = set()
        for path in self._mesh.files:
            found.add(existing(path.absolute().parent))
            found.add(existing(path.resolve()))
            if path.is_dir():
                found.update(listing.folders(path))
            elif path.is_symlink():
                found.add(existing(path.resolve().parent))
        return found

    @property
    def is_waiting(self) -> bool:
        return len(self._pending) > 0

    def look(self, whole: frozenset[str]) -> list[Event]:
        with self._lock, _uncollected():
            start = self._clock()
            listed = listing.observe(self._mesh.files)
            self._faults.follow(listed)
            if self._is_first:
                self._remember(listed)
            ready = self._choose(listed.seen, whole, start)
            for path in ready:
                if path in listed.seen:
                    self._take(path, listed.seen[path])
                else:
                    self._lose(path, listed.bare)
            self._faults.settle(self._read)
            return self._tell(bool(ready), start)

    @property
    def is_unsaved(self) -> bool:
        is_new = self._inventory.allocation.changes != self._saved
        return self._store.is_due or (is_new and self._pace.is_due)

    def save(self, *, is_last: bool = False) -> None:
        self._store.save(is_last=is_last)
        if is_last:
            self._store.close()
        with self._lock:
            allocation = self._inventory.allocation
            changes = allocation.changes
            if changes == self._saved or not (is_last or self._pace.is_due):
                return
            data = vip.encode(allocation)
        self._pace.begin()
        is_done = state.write(self._mesh, data)
        self._pace.end(is_done=is_done)
        if is_done:
            self._saved = changes

    def _choose(self, seen: dict[str, Signature], whole: frozenset[str], now_s: float) -> list[str]:
        """Which files to read, or to forget, now: those that have changed and rest."""
        for path in [path for path, due_s in self._postponed.items() if now_s >= due_s]:
            del self._postponed[path]
            if path in self._read:
                self._read[path] = _UNREAD
        changed = {path for path in seen if seen[path] != self._read.get(path)}
        # What a missing file or folder has said holds until it is there again.
        gone = {path for path in self._read if path not in seen and not self._faults.covers(path)}
        self._pending.keep(changed | gone)
        return [
            path
            for path in sorted(changed | gone)
            if self._pending.is_over(
                path, seen.get(path), now_s, self._is_first or (path in changed and path in whole)
            )
        ]

    def _remember(self, listed: Listing) -> None:
        """What files said to the daemon before this one that cannot be asked now."""
        for path in self._store.names():
            if path in listed.seen:
                continue
            if self._faults.covers(path) or self._faults.empty(path, listed.bare):
                self._read[path] = _UNREAD
                self._recall(path)
            else:
                self._store.drop(path)

    def _recall(self, path: str) -> None:
        data = self._store.get(path)
        if data is None:
            return
        try:
            parsed = parse.parse(data, path)
        except ConfigError as error:
            _log.warning("what %s last said is not legal any more: %s", path, error.problems[0])
            return
        self._inventory.replace(path, parsed.pieces)
        self._faults.recall(path)

    def _lose(self, path: str, bare: Collection[str]) -> None:
        """A file is gone; what it said counts no more, unless everything is gone with it."""
        if self._inventory.pieces(path) and self._faults.empty(path, bare):
            return
        self._inventory.remove(path)
        self._read.pop(path)
        self._faults.accept(path)
        self._store.drop(path)

    def _take(self, path: str, as_seen: Signature) -> None:
        """Reads one file; where it is wrong, what it said before still holds."""
        is_new = path not in self._read
        self._read[path] = as_seen
        try:
            data = listing.recv(path, self._mesh.max_file_bytes)
            if not data and is_new:
                self._recall(path)
            if not data and self._inventory.pieces(path) and not self._mesh.allow_empty:
                raise ConfigError([Problem(path, "(file)", "0 bytes", _CUT_SHORT)])
            parsed = parse.parse(data, path, self._inventory.pieces(path))
        except ConfigError as error:
            self._refuse(path, error.problems, is_new)
        except OSError as error:
            self._read[path] = _UNREAD  # no descriptors left, a disk that fails: it may pass
            problem = Problem(path, "(file)", path, f"readable: {error.strerror}")
            self._refuse(path, (problem,), is_new)
        except RecursionError:
            problem = Problem(path, "(file)", "too deep", "documents of a sensible depth")
            self._refuse(path, (problem,), is_new)
        except MemoryError:
            self._postponed[path] = self._clock() + RETRY_S
            problem = Problem(path, "(file)", path, "small enough for the memory that there is")
            self._refuse(path, (problem,), is_new)
        else:
            self._inventory.replace(path, parsed.pieces)
            self._faults.accept(path)
            self._store.put(path, data)
            _report(path, parsed.ignored)

    def _refuse(self, path: str, problems: tuple[Problem, ...], is_new: bool) -> None:
        self._faults.refuse(path, problems)
        if is_new:
            self._recall(path)

    def _tell(self, is_news: bool, start: float) -> list[Event]:
        flat, standing = self._faults.problems, self._faults.standing
        was, self._problems = self._problems, flat
        events: list[Event] = []
        if flat and flat != was:
            events.append(Rejected(flat, standing))
        is_mended = bool(was) and not flat
        if is_news or self._is_first or is_mended:
            table, difference = self._inventory.build()
            if difference or self._is_first or is_mended:
                elapsed_s = self._clock() - start
                events.append(Loaded(table, difference, elapsed_s, flat, standing))
        self._is_first = False
        return events


def _report(path: str, ignored: tuple[str, ...]) -> None:
    """One line a file for documents of kinds that mean nothing here."""
    if ignored:
        more = f" and {len(ignored) - _SHOWN} more" if len(ignored) > _SHOWN else ""
        _log.info("%s: ignored %s%s", path, ", ".join(ignored[:_SHOWN]), more)


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
