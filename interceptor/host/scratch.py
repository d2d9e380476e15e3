"""A network namespace that is thrown away: to try in it what the kernel takes."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

CLONE_NEWNET = 0x40000000  # linux/sched.h
Result = TypeVar("Result")
_LIBC = ctypes.CDLL(None, use_errno=True)


def call(function: Callable[[], Result]) -> Result:
    """What ``function`` returns, or raises, in a namespace of its own, which ends with the call.

    Raises OSError (EPERM) where we may not make one. The rest of the process
    stays where it is: namespaces are a thread's.
    """

    def body() -> Result:
        if _LIBC.unshare(CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            raise OSError(code, f"unshare: {os.strerror(code)}")
        return function()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(body).result()
