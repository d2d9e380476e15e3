"""The lock of legacy iptables (iptables(8), --wait): who changes its rules holds it.

The kernel tells nobody of changes of legacy tables. But programs that change them open this
file, and inotify(7) tells of that; who only saves them does not.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

PATH = Path("/run/xtables.lock")
_CLOSE = 0x008 | 0x010  # <sys/inotify.h>: IN_CLOSE_WRITE, IN_CLOSE_NOWRITE

_libc = ctypes.CDLL(None, use_errno=True)


def events(path: Path = PATH) -> int | None:
    """A descriptor, the caller's, that becomes readable when the lock was given back; None where
    there is no such file, or no watch to be had."""
    descriptor: int = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor < 0:
        return None
    if _libc.inotify_add_watch(descriptor, os.fsencode(path), _CLOSE) < 0:
        os.close(descriptor)
        return None
    return descriptor
