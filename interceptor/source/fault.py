"""What is wrong with a source's files now, and which of them speak from memory therefore."""

from __future__ import annotations

from collections.abc import Iterable

from interceptor import config
from interceptor.errors import Problem
from interceptor.source.event import Standing
from interceptor.source.listing import Listing, is_below
from interceptor.source.store import Store


class Faults:
    """Problems by file or folder. ``store`` is told which of its documents are getting old."""

    def __init__(self, mesh: config.Mesh, store: Store) -> None:
        self._mesh, self._store = mesh, store
        self._bad: dict[str, tuple[Problem, ...]] = {}
        self._missing: dict[str, Problem] = {}
        self._emptied: dict[str, Problem] = {}
        self._held: set[str] = set()
        self._recalled: set[str] = set()

    def follow(self, listed: Listing) -> None:
        """What cannot be read now; and which folders are not empty any more."""
        self._missing = listed.missing
        self._emptied = {
            folder: problem for folder, problem in self._emptied.items() if folder in listed.bare
        }

    def covers(self, path: str) -> bool:
        """Whether a file that is not to be seen is excused: what it said holds."""
        return is_below(path, self._missing) or is_below(path, self._emptied)

    def empty(self, path: str, bare: Iterable[str]) -> bool:
        """Notes the folder that lost ``path`` with everything else in it. False if none did, or
        an empty folder is meant."""
        folder = next((folder for folder in bare if is_below(path, (folder,))), None)
        if folder is None or self._mesh.allow_empty:
            return False
        legal = (
            "at least one file; what the former ones said holds. Where no mesh is meant: "
            "a file with a comment in it, or mesh.allow_empty"
        )
        self._emptied[folder] = Problem("config", "mesh.files", folder, legal)
        return True

    def refuse(self, path: str, problems: tuple[Problem, ...]) -> None:
        """A file is wrong."""
        self._bad[path] = problems

    def accept(self, path: str) -> None:
        """A file is right, or gone for good."""
        self._bad.pop(path, None)
        self._recalled.discard(path)

    def recall(self, path: str) -> None:
        """A file says what is on disk of it."""
        self._recalled.add(path)

    def settle(self, paths: Iterable[str]) -> None:
        """Once a look is over: of these, who speaks from memory."""
        held = set(self._bad)
        if self._missing or self._emptied:
            held |= {path for path in paths if self.covers(path)}
        for path in held - self._held:
            self._store.hold(path)
        for path in self._held - held:
            self._store.release(path)
        self._held = held

    @property
    def standing(self) -> Standing:
        """How the table stands to its source."""
        if not self._held:
            return Standing()
        return Standing(len(self._held), len(self._recalled), self._store.age_s(self._held))

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All of them, by place; and that it has lasted too long."""
        single = {**self._missing, **self._emptied}
        every = {**self._bad, **{place: (problem,) for place, problem in single.items()}}
        found = tuple(problem for place in sorted(every) for problem in every[place])
        limit_s = self._mesh.max_stale_s
        if not found or not limit_s or self.standing.age_s <= limit_s:
            return found
        legal = "what holds is older than that; mend the mesh's files"
        return (*found, Problem("config", "mesh.max_stale_s", str(limit_s), legal))
