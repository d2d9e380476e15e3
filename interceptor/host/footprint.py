"""Files put on a host with a way back: all of it is written down before anything is changed.

The journal is a folder: ``journal.json`` (what each path was, and what we make of it) and a copy
of each file that was there. It is complete before the first change, and goes with the last step
of the way back. So a crash at any moment leaves either nothing, or a journal by which `revert`
makes the host what it was: it compares what is there with both, and needs to know of no step.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from operator import methodcaller
from pathlib import Path
from typing import Self

from interceptor.errors import InterceptorError
from interceptor.host import atomic, former
from interceptor.host.former import ABSENT, Former, Kind

JOURNAL = "journal.json"
ASIDE = ".yours"
"""Ending of a file that somebody edited after us, and that is kept."""
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Draft:
    """A file that is to be: an absolute path, as the host sees it."""

    path: Path
    data: bytes
    mode: int = 0o600


@dataclass(slots=True)
class _Trace:
    """``made``: digests of what we wrote there; ``is_tree``: all below is put back as well."""

    former: Former
    made: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Footprint:
    """``place``: the journal's folder, inside ``root``, below which the host's paths are.

    ``note`` is whatever the user of this needs to remember. ``at`` is called before each change,
    with its name (tests stop there). Blocks on the disk.
    """

    place: Path
    root: Path = Path("/")
    note: dict[str, object] = field(default_factory=dict)
    at: Callable[[str], object] = field(default=lambda _: None, repr=False)
    _traces: dict[str, _Trace] = field(default_factory=dict)
    _trees: tuple[str, ...] = ()
    _is_whole: bool = False

    @classmethod
    def open(cls, place: Path, root: Path = Path("/")) -> Self:
        """That of an earlier `write`, or an empty one. Raises InterceptorError for one that
        cannot be read."""
        one = cls(place, root)
        try:
            tree = json.loads((one._on_host(place) / JOURNAL).read_text())
            if tree["format"] != FORMAT:
                raise ValueError(f"format {tree['format']} is another version's")
            one.note, one._trees = tree["note"], tuple(tree["trees"])
            one._is_whole = tree["whole"]
            for path, (before, made) in tree["traces"].items():
                before["kind"] = Kind(before["kind"])
                one._traces[path] = _Trace(Former(**before), made)
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InterceptorError(f"{place / JOURNAL} cannot be read: {error}") from error
        return one

    def __len__(self) -> int:
        """Of how many paths it knows what they were."""
        return len(self._traces)

    def __contains__(self, path: Path) -> bool:
        return str(path) in self._traces

    def is_edited(self, path: Path) -> bool:
        """Whether somebody has changed a file of ours since."""
        trace = self._traces.get(str(path))
        now, _ = former.observe(self._on_host(path))
        return trace is not None and not self._is_ours(now, trace)

    def before(self, path: Path) -> bytes | None:
        """The bytes of a file before the first `write`; None where there was none."""
        trace = self._traces.get(str(path))
        if trace is None or trace.former.kind is not Kind.FILE:
            return None
        return self._copy(trace.former.digest).read_bytes()

    def write(
        self, drafts: Iterable[Draft], trees: Iterable[Path], note: Mapping[str, object]
    ) -> None:
        """Journal, then files. ``trees`` are folders whose contents others change: all of it is
        put back. What an earlier `write` had found stays what `revert` goes back to."""
        drafts = list(drafts)
        contents: dict[str, bytes] = {}
        if not self._traces:
            for folder in reversed(self.place.parents):
                self._remember(folder, contents)
            self._trees = tuple(str(tree) for tree in trees)
            for tree in self._trees:
                for path in self._below(Path(tree)):
                    self._remember(path, contents)
        for draft in drafts:
            for folder in reversed(draft.path.parents):
                self._remember(folder, contents)
            self._remember(draft.path, contents).made.append(former.digest(draft.data))
        self.note = {**self.note, **note}
        self._save(contents)
        for draft in drafts:
            self._place(draft)

    def _below(self, tree: Path) -> list[Path]:
        """A folder, all that is in it but for the journal, and the folders above it."""
        inner = sorted(self._on_host(tree).rglob("*"))
        paths = [*reversed(tree.parents), tree, *(self._as_told(path) for path in inner)]
        return [path for path in paths if self.place not in (path, *path.parents)]

    def _remember(self, path: Path, contents: dict[str, bytes]) -> _Trace:
        key = str(path)
        if key not in self._traces:
            found, data = former.observe(self._on_host(path))
            self._traces[key] = _Trace(found)
            if found.kind is Kind.FILE:
                contents[found.digest] = data
        return self._traces[key]

    def _save(self, contents: Mapping[str, bytes]) -> None:
        """A journal that is not whole yet says that nothing has been changed."""
        folder = self._on_host(self.place)
        if not self._is_whole:
            self.at("the journal's folder")
            for each in (folder.parent, folder):
                each.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._note_down()
        for name, data in contents.items():
            self.at(f"copy {name}")
            atomic.replace(folder / name, methodcaller("write", data))
        self._is_whole = True
        self._note_down()

    def _note_down(self) -> None:
        traces = {path: (asdict(trace.former), trace.made) for path, trace in self._traces.items()}
        tree = {
            "format": FORMAT,
            "whole": self._is_whole,
            "note": self.note,
            "trees": self._trees,
            "traces": traces,
        }
        data = json.dumps(tree, indent=1).encode()
        self.at(f"{JOURNAL}, whole: {self._is_whole}")
        atomic.replace(self._on_host(self.place) / JOURNAL, methodcaller("write", data))

    def _place(self, draft: Draft) -> None:
        path = self._on_host(draft.path)
        self.at(f"write {draft.path}")
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        former.replace(path, draft.data, Former(Kind.FILE, draft.mode, os.geteuid(), os.getegid()))

    def revert(self) -> list[str]:
        """Make the host what it was, and end the journal. Returns what somebody should know:
        files that were edited since and are kept, folders that are not empty."""
        told: list[str] = []
        deepest = sorted(self._traces, key=lambda path: len(Path(path).parts), reverse=True)
        folders = [path for path in deepest if self._is_folder(path)]
        if self._is_whole:
            for tree in self._trees:
                self._clear(Path(tree))
            for path in reversed(folders):
                if self._traces[path].former.kind is Kind.FOLDER:
                    self._make(Path(path))
            for path in deepest:
                if path not in folders:
                    told += self._restore(Path(path), self._traces[path])
        self._end(folders, told)
        return told

    def _is_folder(self, path: str) -> bool:
        """Whether a path was a folder, or was made into one."""
        trace = self._traces[path]
        is_made = trace.former.kind is Kind.ABSENT and not trace.made
        return trace.former.kind is Kind.FOLDER or is_made

    def _make(self, path: Path) -> None:
        if not self._on_host(path).is_dir():
            self.at(f"make {path}")
            former.revert(self._on_host(path), self._traces[str(path)].former, b"")

    def _clear(self, tree: Path) -> None:
        """Remove what came into a tree since."""
        inner = [path for path in self._below(tree) if tree in path.parents]
        for path in sorted(inner, key=lambda path: len(path.parts), reverse=True):
            now, _ = former.observe(self._on_host(path))
            if str(path) not in self._traces and now.kind is not Kind.OTHER:
                self.at(f"remove {path}")
                former.revert(self._on_host(path), ABSENT, b"")

    def _restore(self, path: Path, trace: _Trace) -> list[str]:
        place = self._on_host(path)
        now, _ = former.observe(place)
        told: list[str] = []
        if now == trace.former or trace.former.kind is Kind.OTHER:
            return told
        if former.is_same(now, trace.former):
            self.at(f"settle {path}")
            former.settle(place, trace.former)
            return told
        is_edited = bool(trace.made) and not self._is_ours(now, trace)
        if is_edited or now.kind in (Kind.FOLDER, Kind.OTHER):
            aside = _free(place.with_name(place.name + ASIDE))
            self.at(f"keep {path}")
            place.rename(aside)
            told.append(f"{path} was edited since: kept as {self._as_told(aside)}")
        self.at(f"restore {path}")
        is_file = trace.former.kind is Kind.FILE
        data = self._copy(trace.former.digest).read_bytes() if is_file else b""
        former.revert(place, trace.former, data)
        return told

    @staticmethod
    def _is_ours(now: Former, trace: _Trace) -> bool:
        return now.kind is Kind.ABSENT or (now.kind is Kind.FILE and now.digest in trace.made)

    def _end(self, folders: Iterable[str], told: list[str]) -> None:
        """Folders; those that the journal is in once more when it is gone."""
        above = [path for path in folders if Path(path) in self.place.parents]
        for path in folders:
            if path not in above or self._traces[path].former.kind is Kind.FOLDER:
                told += self._end_folder(Path(path))
        self._remove_journal()
        for path in above:
            told += self._end_folder(Path(path))
        self._traces.clear()
        self._is_whole = False

    def _end_folder(self, path: Path) -> list[str]:
        before, place = self._traces[str(path)].former, self._on_host(path)
        self.at(f"folder {path}")
        if before.kind is Kind.FOLDER:
            self._settle_folder(path, before)
        elif place.is_dir() and any(place.iterdir()):
            return [f"{path} was not there before, and stays: it is not empty"]
        elif place.is_dir():
            place.rmdir()
        return []

    def _remove_journal(self) -> None:
        """What is left of one that just began, or nearly had ended, is empty folders."""
        folder = self._on_host(self.place)
        if folder.is_dir():
            for file in sorted(folder.iterdir(), key=lambda file: file.name == JOURNAL):
                self.at(f"end {file.name}")
                file.unlink()
            self.at("end the journal's folder")
            folder.rmdir()
        if not self._traces:
            with suppress(OSError):
                folder.parent.rmdir()

    def _settle_folder(self, path: Path, before: Former) -> None:
        """Ours in all; of somebody else's the time, where nobody else has changed it either."""
        place = self._on_host(path)
        now, _ = former.observe(place)
        if any(Path(tree) in (path, *path.parents) for tree in self._trees):
            former.settle(place, before)
        elif now.changed_ns != before.changed_ns and former.is_same(now, before):
            former.settle_time(place, before)

    def _copy(self, name: str) -> Path:
        return self._on_host(self.place) / name

    def _on_host(self, path: Path) -> Path:
        return self.root / path.relative_to("/")

    def _as_told(self, path: Path) -> Path:
        return Path("/") / path.relative_to(self.root)


def _free(path: Path) -> Path:
    """The name, or the first with a number behind it, that nothing bears."""
    count, found = 1, path
    while found.exists() or found.is_symlink():
        count += 1
        found = path.with_name(f"{path.name}.{count}")
    return found
