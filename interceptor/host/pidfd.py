"""Descriptors of other processes, by their pidfd (pidfd_getfd(2), Linux 5.6)."""

from __future__ import annotations

import ctypes
import errno
import os

GETFD = 438  # __NR_pidfd_getfd, the same on every architecture
_LIBC = ctypes.CDLL(None, use_errno=True)


def copy(process: int, descriptor: int) -> int:
    """A duplicate, the caller's to close, of a descriptor of the process that a pidfd is of.
    Raises ProcessLookupError when either is gone, OSError where we may not."""
    found: int = _LIBC.syscall(GETFD, process, descriptor, 0)
    if found >= 0:
        return found
    code = ctypes.get_errno()
    if code == errno.EBADF:  # closed meanwhile
        raise ProcessLookupError(code, os.strerror(code))
    raise OSError(code, f"pidfd_getfd: {os.strerror(code)}")
