"""The journal: before each step its inverse is written down, so that a crash can be undone.

One JSON object a line, appended and synchronised before the step is taken. A
line that a crash cut short is left out on reading: its step never ran.
"""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path

from interceptor.capture.step import Command, Step
from interceptor.errors import InterceptorError
from interceptor.host import command

log = logging.getLogger(__name__)

NAME = "journal"


class Journal:
    """The journal of one run directory; without a path nothing is kept (tests, previews)."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._seen = (0, 0)  # inode and size of the file whose lines are known
        self._known: set[bytes] = set()

    def take(self, steps: Iterable[Step]) -> None:
        """Run steps in their order, each after its inverse is safe on disk.

        Raises CommandFailed at the first that fails, InterceptorError at the first whose inverse
        cannot be written down; those before it stay.
        """
        for step in steps:
            self._record(step)
            done = run(step.do)
            if done.code != 0:
                log.warning("%s: %s", step.why, done.stderr.strip())

    def record(self, steps: Iterable[Step]) -> None:
        """Write down the inverses of steps that are taken without a command.

        Raises InterceptorError where that fails: then the step must not be taken.
        """
        for step in steps:
            self._record(step)

    def _record(self, step: Step) -> None:
        if self.path is None or not step.undo:
            return
        undo = [[list(item.argv), item.stdin] for item in step.undo]
        line = json.dumps({"why": step.why, "undo": undo}).encode() + b"\n"
        try:
            self.path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                self._append(descriptor, line)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise InterceptorError(
                f"journal {self.path}: {error.strerror}; a change that could not be undone is not "
                f"made ({step.why}): make room there"
            ) from error

    def _append(self, descriptor: int, line: bytes) -> None:
        """Adds a whole line or, where the disk is full, nothing. What stands there already, as
        when rules are put back for the hundredth time, is not written again."""
        status = os.fstat(descriptor)
        if (status.st_ino, status.st_size) != self._seen:
            self._known = set(os.pread(descriptor, status.st_size, 0).splitlines(keepends=True))
        size = status.st_size
        if line not in self._known:
            is_torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            data = b"\n" + line if is_torn else line
            try:
                if os.write(descriptor, data) < len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, size)
                raise
            self._known.add(line)
            size += len(data)
        self._seen = (status.st_ino, size)

    def read(self) -> tuple[Command, ...]:
        """The inverses, last step first; empty without a journal."""
        if self.path is None or not self.path.exists():
            return ()
        found: list[tuple[Command, ...]] = []
        for line in self.path.read_text(errors="replace").splitlines():
            try:
                undo = decode(line)
            except (ValueError, KeyError, TypeError, RecursionError):
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
    return tuple(_command(argv, stdin) for argv, stdin in undo)


def _command(argv: object, stdin: object) -> Command:
    """One command of a line that may be damaged. Raises ValueError."""
    if not isinstance(argv, list) or not argv or not isinstance(stdin, str | None):
        raise ValueError("not a command")
    for word in argv:
        if not isinstance(word, str) or "\0" in word:
            raise ValueError(f"not a word: {word!r}")
    return Command(tuple(argv), stdin, tolerant=True)


def run(item: Command) -> command.Completed:
    """Run one command. Raises CommandFailed unless it is tolerant."""
    return command.run(item.argv, item.stdin, check=not item.tolerant)
