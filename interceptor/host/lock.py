"""One daemon a run directory: a lock that ends with its process, however that ends."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from interceptor.errors import InterceptorError

NAME = "lock"


class Lock:
    """Held from `__enter__` to `__exit__`, or to the end of the process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1

    def __enter__(self) -> Self:
        """Raises InterceptorError, naming the holder, where another process has it."""
        self.path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            pid = holder(self.path)
            raise InterceptorError(f"another daemon runs here (pid {pid or 'unknown'})") from error
        with suppress(OSError):  # a disk that is full: the lock holds, nobody can say whose it is
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.path.unlink(missing_ok=True)
        os.close(self._descriptor)


def holder(path: Path) -> int:
    """The pid of the process that holds the lock, 0 where none does, -1 where one does that has
    not written its pid yet. Both mean many processes to kill(2): look before you signal."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return 0
    except BlockingIOError:
        text = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        return int(text) if text.isdigit() else -1
    finally:
        os.close(descriptor)
