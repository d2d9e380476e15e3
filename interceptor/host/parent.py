"""A life that ends with its parent's (PR_SET_PDEATHSIG), stopped or not."""

from __future__ import annotations

import ctypes
import os
import signal

_SET_DEATH_SIGNAL = 1  # linux/prctl.h, PR_SET_PDEATHSIG


def die_with(parent: int) -> None:
    """From now on SIGKILL ends this process as soon as the thread that forked it has ended.

    ``parent`` is the pid that was to be waited for: when it went before we asked, nobody
    would tell us any more, and this process ends here. Raises OSError.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
