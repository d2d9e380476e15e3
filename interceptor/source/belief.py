"""What is believed of what the control plane says: the table in force, and what is wrong with it.

An empty table after a full one is believed once it has stood for mesh.istiod.empty_after_s: so
looks a control plane that has just been started, or has lost its own source. While nothing comes,
the last good table holds, be it one that a daemon before this one wrote down.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic

from interceptor import config
from interceptor.errors import Problem
from interceptor.mesh.table import EMPTY, MeshTable, diff
from interceptor.source.event import Event, Loaded, Rejected, Standing
from interceptor.source.nds import WHERE, NoNameTable, Register
from interceptor.source.pace import Pace
from interceptor.source.store import Store

DOCUMENT = "nametable"
FIRST_S = 2.0  # how long the first table of all is waited for, before the last good one is taken
LOST_S = 5.0  # for how long nothing may be heard before that is told as a problem
_log = logging.getLogger(__name__)


class Belief:
    """Any method may block for as long as a table takes to read; one thread at a time."""

    def __init__(
        self, mesh: config.Mesh, store: Store, clock: Callable[[], float] = monotonic
    ) -> None:
        self._mesh, self._store, self._clock = mesh, store, clock
        self._register = Register()
        self._table = EMPTY
        self._is_first = True
        self._is_recalled = False
        self._silent_s: float | None = clock()  # since when
        self._silence = ""
        self._refused: Problem | None = None
        self._empty_s: float | None = None
        self._empty: tuple[MeshTable, bytes] | None = None
        self._problems: tuple[Problem, ...] = ()
        self._unkept: bytes | None = None
        self._pace = Pace(clock)

    # --- what happens

    def take(self, data: bytes, elapsed_s: float = 0.0) -> list[Event]:
        """The control plane says so. Raises NoNameTable, and then nothing has changed."""
        start_s = self._clock() - elapsed_s
        self.hear()
        table = self._register.parse(data)
        self._refused = None
        if not table.hosts and not self._mesh.allow_empty and self._has_said():
            if self._empty_s is None:
                self._empty_s = self._clock()
            self._empty = table, data
            return self.look()
        return self._believe(table, data, start_s)

    def refuse(self, reason: str) -> list[Event]:
        """It has said something that cannot be taken."""
        self.hear()
        self._refused = Problem(WHERE, "name table", "refused", f"{reason}; the one before holds")
        return self.look()

    def hear(self) -> None:
        """It has said something, or that nothing has changed."""
        self._silent_s, self._silence = None, ""

    def lose(self, reason: str) -> None:
        """It is not connected; told once for a while of silence."""
        if self._silent_s is None:
            self._silent_s = self._clock()
        self._silence = self._silence or reason

    # --- what follows from it

    def look(self) -> list[Event]:
        """What has to be told by now."""
        start_s = self._clock()
        if self._is_over(self._empty_s, self._mesh.istiod.empty_after_s) and self._silent_s is None:
            table, data = self._empty or (EMPTY, b"")
            return self._believe(table, data, start_s)
        recalled = EMPTY
        if self._is_first and (self._empty_s is not None or self._is_silent(FIRST_S)):
            recalled = self._recall()
        events: list[Event] = []
        if (problems := self._find()) != self._problems:
            was, self._problems = self._problems, problems
            if problems:
                events.append(Rejected(problems, self.standing))
            elif was and not self._is_first:
                events += self._adopt(self._table, start_s, is_mended=True)
        if recalled.hosts:
            self._is_recalled = True
            self._store.hold(DOCUMENT)
            events += self._adopt(recalled, start_s)
        return events

    @property
    def wait_s(self) -> float:
        """Until `look` is worth it, if nothing happens."""
        if self._is_first:
            return 0.2
        return 1.0 if self._silent_s is not None or self._empty_s is not None else 30.0

    @property
    def standing(self) -> Standing:
        """How the table stands to the control plane."""
        held = int(bool(self._problems) and bool(self._table.hosts))
        return Standing(held, int(self._is_recalled), self._store.age_s((DOCUMENT,)))

    @property
    def hosts(self) -> int:
        """In the table that is in force."""
        return len(self._table)

    # --- the disk

    @property
    def is_unsaved(self) -> bool:
        """Whether there is something to write down, and it is time."""
        return (self._unkept is not None and self._pace.is_due) or self._store.is_due

    def save(self, *, is_last: bool = False) -> None:
        """Write down what has to survive a restart. Beside any other method."""
        data = self._unkept
        if data is not None and (is_last or self._pace.is_due):
            self._pace.begin()
            self._store.put(DOCUMENT, data)
            self._pace.end(is_done=True)
            if self._unkept is data:
                self._unkept = None
        self._store.save(is_last=is_last)
        if is_last:
            self._store.close()

    # --- within

    def _believe(self, table: MeshTable, data: bytes, start_s: float) -> list[Event]:
        self._empty_s, self._empty = None, None
        self._is_recalled = False
        self._unkept = data
        self._store.release(DOCUMENT)
        was, self._problems = self._problems, self._find()
        is_mended = bool(was) and not self._problems
        return self._adopt(table, start_s, is_mended=is_mended)

    def _adopt(self, table: MeshTable, start_s: float, *, is_mended: bool = False) -> list[Event]:
        difference = diff(self._table, table)
        is_first, self._is_first = self._is_first, False
        self._table = table
        if not (difference or is_first or is_mended):
            return []
        elapsed_s = self._clock() - start_s
        return [Loaded(table, difference, elapsed_s, self._problems, self.standing)]

    def _find(self) -> tuple[Problem, ...]:
        """Everything that is wrong now; the store is told whether its table is getting old."""
        found = [self._refused] if self._refused else []
        if self._empty_s is not None:
            after_s = self._mesh.istiod.empty_after_s
            legal = f"at least one host; believed after {after_s} s, or with mesh.allow_empty"
            found.append(Problem(WHERE, "name table", "empty", legal))
        if self._is_silent(FIRST_S if self._is_first else LOST_S):
            value = ", ".join(self._mesh.istiod.addresses)
            reason = self._silence or "no name table yet"
            found.append(Problem(WHERE, "mesh.istiod.addresses", value, reason))
        if not found:
            self._store.release(DOCUMENT)
            return ()
        self._store.hold(DOCUMENT)
        limit_s = self._mesh.max_stale_s
        if limit_s and self._store.age_s((DOCUMENT,)) > limit_s:
            legal = "the table in force is older; see to the control plane"
            found.append(Problem("config", "mesh.max_stale_s", str(limit_s), legal))
        return tuple(found)

    def _is_silent(self, limit_s: float) -> bool:
        return self._is_over(self._silent_s, limit_s)

    def _is_over(self, since_s: float | None, limit_s: float) -> bool:
        return since_s is not None and self._clock() - since_s >= limit_s

    def _has_said(self) -> bool:
        return bool((self._recall() if self._is_first else self._table).hosts)

    def _recall(self) -> MeshTable:
        """The table that is written down. Read by itself: it is none of the control plane's."""
        return recall(self._store)


def recall(store: Store) -> MeshTable:
    """What the control plane last said, as far as a daemon wrote it down."""
    data = store.get(DOCUMENT)
    if data is None:
        return EMPTY
    try:
        return Register().parse(data)
    except NoNameTable as error:
        _log.warning("the last good name table cannot be read any more: %s", error)
        return EMPTY
