"""What kind of file system a path lies on (proc(5))."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

MEMORY = frozenset({"tmpfs", "ramfs", "devtmpfs"})
MOUNTS = Path("/proc/self/mountinfo")


def is_volatile(path: Path) -> bool:
    """Whether what lies at ``path``, or would, is lost in a reboot."""
    return parse(MOUNTS.read_text().splitlines(), path.resolve()) in MEMORY


def parse(mounts: Iterable[str], path: Path) -> str:
    """The type of the file system that ``path`` (absolute, without links) is on, by the lines of
    /proc/PID/mountinfo (proc(5)): of the longest mount point above it the last, which hides those
    before it. Empty where none is told."""
    longest, found = -1, ""
    for line in mounts:
        head, mark, tail = line.partition(" - ")
        fields = head.split()
        if not mark or len(fields) < 5:
            continue
        point = _plain(fields[4])
        if path.is_relative_to(point) and len(point) >= longest:
            longest, found = len(point), tail.split()[0]
    return found


def _plain(text: str) -> str:
    """Space, tab, newline and backslash are octal numbers there."""
    for byte in (b" ", b"\t", b"\n", b"\\"):
        text = text.replace(f"\\{byte[0]:03o}", byte.decode())
    return text
