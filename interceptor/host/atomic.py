"""Files that are replaced as a whole: whoever reads sees the old one or the new one."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

DRAFT = ".new"


def replace(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """What ``write`` writes stands under ``path`` from now on, mode 0600, also after a power cut.

    The folder is made where it is missing (0700). Raises OSError, with the old file untouched
    and no draft left: a full disk never costs what there was. Blocks on the disk.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(path.name + DRAFT)
    draft.unlink(missing_ok=True)  # of a process that was killed
    descriptor = os.open(
        draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
    )
    try:
        with open(descriptor, "w+b") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """A rename is on disk when its folder is. Some file systems cannot, and need not."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
