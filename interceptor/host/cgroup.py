"""Control groups (version 2): folders of a tree, by which programs are attached and told apart."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from interceptor.errors import Unsupported
from interceptor.host import probe

PROCESSES = "cgroup.procs"


@dataclass(frozen=True, slots=True)
class Reference:
    """A cgroup as BPF programs see it. ``level``: 0 is the root."""

    id: int
    level: int


def root() -> Path:
    """Where the tree is mounted. Raises Unsupported where it is not."""
    if mount := probe.cgroup_mount():
        return Path(mount)
    raise Unsupported("control groups", "a cgroup2 mount")


def folder(path: str, mount: Path | None = None) -> Path:
    """The folder of a cgroup, whose path counts from the root of the tree: `/system.slice`."""
    return (root() if mount is None else mount) / path.strip("/")


def open_folder(folder: Path) -> int:
    """A descriptor to attach to, of the caller's. Raises FileNotFoundError."""
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def refer(folder: Path, mount: Path | None = None) -> Reference:
    """The id (the folder's inode) and the depth. Raises FileNotFoundError, ValueError outside.

    In a cgroup namespace the depth counts from its root, which the kernel does not: run there,
    attach there, but do not tell cgroups apart.
    """
    depth = len(folder.relative_to(root() if mount is None else mount).parts)
    return Reference(folder.stat().st_ino, depth)


def create(folder: Path) -> None:
    """Make a cgroup, parents included. It is no harm if it is there."""
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)


def remove(folder: Path) -> bool:
    """Remove a cgroup; False where processes or cgroups are left in it. It may be gone already."""
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:  # EBUSY, ENOTEMPTY
        return False
    return True


def processes(folder: Path) -> tuple[int, ...]:
    """The pids in a cgroup itself, not below it."""
    return tuple(int(pid) for pid in (folder / PROCESSES).read_text().split())


def move(pids: Iterable[int], folder: Path) -> None:
    """Put processes in a cgroup. One that has ended meanwhile is no harm. Raises OSError."""
    for pid in pids:
        try:
            (folder / PROCESSES).write_text(str(pid))
        except ProcessLookupError:
            continue


def of(pid: int | str = "self") -> str:
    """The path of a process's cgroup, `/` for the root; empty where it is not known."""
    try:
        return parse_membership(Path(f"/proc/{pid}/cgroup").read_text())
    except OSError:
        return ""


def parse_membership(text: str) -> str:
    """Read /proc/PID/cgroup (cgroups(7)): version 2's line is `0::PATH`."""
    for line in text.splitlines():
        if line.startswith("0::"):
            return line[3:].removesuffix(" (deleted)")
    return ""


def join_argv(folder: Path, argv: Sequence[str]) -> list[str]:
    """A command that is in the cgroup from before its program begins, threads and all."""
    script = f'echo 0 >"$0"/{PROCESSES} && exec "$@"'
    return ["sh", "-c", script, str(folder), *argv]
