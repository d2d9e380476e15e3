"""Processes of this machine, by their numbers: whether they live, and signals for them."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path


def send(pid: int, number: signal.Signals) -> None:
    """A signal, unless the process has ended."""
    if pid:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def is_alive(pid: int) -> bool:
    """Whether it runs, or is stopped; a zombie does neither."""
    words = _stat(pid)
    return bool(words) and words[0] not in "ZX"


def parent(pid: int) -> int:
    """The process that started it; 0 where it has ended."""
    words = _stat(pid)
    return int(words[1]) if words else 0


def command_line(pid: int) -> str:
    """Its words, or nothing where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""
