"""From an observation to the files of a move into a mesh."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

from interceptor import assembly
from interceptor.config import Config
from interceptor.debug import concern, draft, manifest, observed, survey
from interceptor.debug.concern import Concern
from interceptor.debug.draft import Draft, Wish
from interceptor.debug.observed import Observation
from interceptor.errors import InterceptorError
from interceptor.host import atomic
from interceptor.mesh.answer import Answers
from interceptor.mesh.outcome import Verdict

ENTRIES, WORKLOAD, SETTINGS, REPORT = (
    "serviceentries.yaml",
    "workloadgroup.yaml",
    "config.yaml",
    "report.md",
)
STATE = "observation.json"
READABLE = 0o644  # root watches, others read
FILES = (ENTRIES, WORKLOAD, SETTINGS, REPORT, STATE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that comes of a watch. ``texts``: file name to content; ``folder`` is where they are
    (to be) written, absolute, or where they would be."""

    found: Observation
    drafted: Draft
    concerns: tuple[Concern, ...]
    commands: tuple[str, ...]
    texts: tuple[tuple[str, str], ...]
    folder: Path

    @property
    def summary(self) -> str:
        return " ".join(survey.summary(self.found, self.drafted, self.concerns))

    def tree(self) -> dict[str, object]:
        """For --json."""
        files = [str(self.folder / name) for name, _ in self.texts]
        return survey.tree(self.found, self.drafted, self.concerns, files)


def build(answers: Answers, found: Observation, wish: Wish, folder: Path | None) -> Outcome:
    """The files for ``folder``; None: for one that the user has yet to name. ``answers`` are
    those that the mesh gives already."""
    folder = folder.absolute() if folder is not None else Path("DIR")
    wish = replace(wish, known=known_names(answers, found, wish))
    drafted = draft.build(found, wish)
    concerns = concern.build(found, drafted, wish)
    commands = tuple(survey.commands(str(folder), wish, drafted))
    paths = [str(folder / ENTRIES), str(folder / WORKLOAD)]
    texts = (
        (ENTRIES, manifest.entries(drafted, found, wish)),
        (WORKLOAD, manifest.workload(drafted, found, wish)),
        (SETTINGS, manifest.settings(drafted, found, wish, paths)),
        (REPORT, survey.render(found, drafted, concerns, commands)),
        (STATE, observed.encode(found).decode() + "\n"),
    )
    return Outcome(found, drafted, concerns, commands, texts, folder)


def observe_mesh(config: Config, folder: Path | None) -> Answers:
    """What the mesh answers already; nothing where it has no documents yet, as before a move.
    What an earlier watch wrote to ``folder`` is no mesh yet. Raises ConfigError."""
    files = tuple(path for path in config.mesh.files if path.exists())
    if folder is not None:
        there = folder.absolute()
        files = tuple(path for path in files if not path.absolute().is_relative_to(there))
    mesh = config.mesh.model_copy(update={"files": files})
    config = config.model_copy(update={"mesh": mesh})
    return assembly.answers(config, assembly.load_table(config))


def known_names(answers: Answers, found: Observation, wish: Wish) -> dict[str, str]:
    """Of the names that were asked, called or are to be served those that the mesh has already,
    with why."""
    names = {call.name for call in found.calls} | {row.name for row in found.asked}
    known: dict[str, str] = {}
    for name in sorted({*names, manifest.served_host(found, wish)}):
        if draft.is_legal(name):
            outcome = answers.resolve(name, "A")
            if outcome.verdict is not Verdict.PASS:
                known[name] = outcome.why
    return known


def check_folder(folder: Path, *, force: bool, append: bool) -> Observation | None:
    """Whether files may be written there: asked before the watch, not behind it. What was
    observed before, where that is to be added to. Raises InterceptorError, ConfigError."""
    state = folder / STATE
    if append and state.exists():
        return observed.decode(_read(state), str(state))
    there = [name for name in FILES if (folder / name).exists()]
    if there and not force and not append:
        names = ", ".join(there)
        raise InterceptorError(
            f"{folder} has {names}: --force writes over them, --append adds to what they tell"
        )
    return None


def apply(outcome: Outcome) -> Sequence[Path]:
    """Write the files, each at once and whole. Raises OSError."""
    outcome.folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, text in outcome.texts:
        path = outcome.folder / name
        atomic.replace(path, partial(_send, text))
        path.chmod(READABLE)
        paths.append(path)
    return paths


def text(outcome: Outcome) -> str:
    """The tree as JSON."""
    return json.dumps(outcome.tree(), indent=2)


def _send(text: str, file: BinaryIO) -> None:
    file.write(text.encode())


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InterceptorError(f"{path}: {error.strerror}") from error
