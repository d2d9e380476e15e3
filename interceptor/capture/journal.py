"""The journal: before each step its inverse is written down, so that a crash can be undone.

One JSON object a line, appended and synchronised before the step is taken. A
line that a crash cut short is left out on reading: its step never ran.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path

from interceptor.capture.step import Command, Step
from interceptor.host import command

log = logging.getLogger(__name__)

NAME = "journal"


class Journal:
    """The journal of one run directory; without a path nothing is kept (tests, previews)."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path

    def take(self, steps: Iterable[Step]) -> None:
        """Run steps in their order, each after its inverse is safe on disk.

        Raises CommandFailed at the first that fails; those before it stay.
        """
        for step in steps:
            self._record(step)
            done = run(step.do)
            if done.code != 0:
                log.warning("%s: %s", step.why, done.stderr.strip())

    def record(self, steps: Iterable[Step]) -> None:
        """Write down the inverses of steps that are taken without a command."""
        for step in steps:
            self._record(step)

    def _record(self, step: Step) -> None:
        if self.path is None or not step.undo:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        undo = [[list(item.argv), item.stdin] for item in step.undo]
        line = json.dumps({"why": step.why, "undo": undo}) + "\n"
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def read(self) -> tuple[Command, ...]:
        """The inverses, last step first; empty without a journal."""
        if self.path is None or not self.path.exists():
            return ()
        found: list[tuple[Command, ...]] = []
        for line in self.path.read_text(errors="replace").splitlines():
            try:
                undo = decode(line)
            except (ValueError, KeyError, TypeError):
                log.warning("journal %s: a line that is not whole is left out", self.path)
                continue
            if undo not in found:
                found.append(undo)
        return tuple(item for undo in reversed(found) for item in undo)

    def replay(self) -> None:
        """Undo every step that was taken. What is gone already is no failure."""
        for item in self.read():
            run(item)

    def remove(self) -> None:
        """Forget it: everything in it has been undone."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def decode(line: str) -> tuple[Command, ...]:
    """One line of the journal. Raises ValueError, KeyError or TypeError on anything else."""
    undo = json.loads(line)["undo"]
    return tuple(Command(tuple(argv), stdin, tolerant=True) for argv, stdin in undo)


def run(item: Command) -> command.Completed:
    """Run one command. Raises CommandFailed unless it is tolerant."""
    return command.run(item.argv, item.stdin, check=not item.tolerant)
