"""What a source tells: a new table, or that its input is wrong."""

from __future__ import annotations

from dataclasses import dataclass

from interceptor.errors import Problem
from interceptor.mesh.table import Difference, MeshTable


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the table in force is what its source says now.

    ``held`` documents are not: they are as they were when they were last right, the oldest
    ``age_s`` before the event. ``recalled`` of them come from disk, where a daemon before
    this one left them.
    """

    held: int = 0
    recalled: int = 0
    age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Loaded:
    """``table`` is in force from now on.

    ``difference`` is against the table of the Loaded before (against the empty
    one for the first), and is empty where only a problem went away.
    ``elapsed_s`` counts from noticing the change. ``problems`` are those that
    still stand, in files whose last good state is part of the table.
    """

    table: MeshTable
    difference: Difference
    elapsed_s: float
    problems: tuple[Problem, ...] = ()
    standing: Standing = Standing()


@dataclass(frozen=True, slots=True)
class Rejected:
    """Everything that is wrong with the input now.

    A file that is wrong keeps what it said when it was last right; the other
    files' changes count. So the table of the Loaded before stays in force, but
    for what other files changed (a Loaded follows then).
    """

    problems: tuple[Problem, ...]
    standing: Standing = Standing()


Event = Loaded | Rejected
