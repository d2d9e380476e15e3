"""Word of a parent's end (PR_SET_PDEATHSIG), which comes to stopped processes, too."""

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
    _ask(signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def wake_with() -> None:
    """From now on SIGCONT comes when the thread that forked us has ended: whoever was stopped
    goes on, and sees for itself that nobody is there any more. Raises OSError."""
    _ask(signal.SIGCONT)


def _ask(number: signal.Signals) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_SET_DEATH_SIGNAL, number, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
