"""Memory of this process: give back what a large piece of work left free."""

from __future__ import annotations

import ctypes


def trim() -> bool:
    """Return free heap pages to the kernel: malloc_trim(3). False where libc has none.

    After 100,000 hosts were read this is some 10 to 20 MB, which the allocator
    would otherwise keep for the next such load.
    """
    try:
        function = ctypes.CDLL(None).malloc_trim
    except AttributeError:  # musl
        return False
    return bool(function(0))
