"""The sidecar's files: made by root, readable by the sidecar's group, by nobody else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from interceptor.sidecar.launch import Files, Launch

LOG_BYTES = 8 << 20  # a longer log is set aside when Envoy starts
TAIL_BYTES = 2048


def prepare(wanted: Launch, files: Files, access_log: str = "") -> None:
    """Make the folder, the bootstrap and the access log, each with its owner.

    The access log has to exist: Envoy, as the user it is, could not make it, and
    refuses every listener whose log it cannot open.
    """
    make(files.folder, wanted.gid)
    _make_admin(files.admin.parent, wanted.uid)
    write(files.bootstrap, wanted.bootstrap, 0o640, wanted.gid)
    make_log(access_log, wanted.uid, wanted.gid)


def make(folder: Path, gid: int) -> None:
    """The sidecar's folder, open to its group. The one above gets no more than passage for
    others."""
    above = folder.parent
    above.mkdir(mode=0o711, parents=True, exist_ok=True)
    above.chmod(above.stat().st_mode & 0o7777 | 0o111)
    folder.mkdir(mode=0o750, exist_ok=True)
    os.chown(folder, -1, gid)
    folder.chmod(0o750)


def _make_admin(folder: Path, uid: int) -> None:
    """Where Envoy makes its admin socket. What is made there belongs to our own group, root's,
    so that a daemon without CAP_DAC_OVERRIDE reaches it too."""
    folder.mkdir(mode=0o700, exist_ok=True)
    status, group = folder.stat(), os.getegid()
    if (status.st_uid, status.st_gid, status.st_mode & 0o7777) != (uid, group, 0o2770):
        os.chown(folder, os.geteuid(), group)
        folder.chmod(0o2770)
        os.chown(folder, uid, group)


def make_log(path: str, uid: int, gid: int) -> None:
    """Make the access log for Envoy to append to, at the start and after each rotation.

    What is there is kept; a device such as /dev/stdout is left alone.
    """
    if path and not path.startswith("/dev/"):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        os.fchown(fd, uid, gid)
        os.close(fd)


def write(path: Path, text: str, mode: int, group: int = -1) -> None:
    """Replace a file as a whole: a reader sees the old text or the new. Raises OSError that names
    it, and leaves the old one."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(fd, "w") as file:
            os.fchmod(fd, mode)
            os.fchown(fd, -1, group)
            file.write(text)
    except OSError as error:
        fresh.unlink()
        raise OSError(error.errno, error.strerror, str(path)) from error
    fresh.rename(path)


@contextmanager
def open_log(path: Path) -> Iterator[int]:
    """A descriptor that appends to Envoy's log; one that has grown too long is set aside."""
    if path.exists() and path.stat().st_size > LOG_BYTES:
        path.rename(path.with_name(path.name + ".1"))
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)


def tail(path: Path) -> str:
    """The last line of a log, for the reason why Envoy ended."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""
