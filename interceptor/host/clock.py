"""The clock that the kernel's programs read: bpf_ktime_get_ns, which knows no time namespace.

In a container with a time namespace (time_namespaces(7)) CLOCK_MONOTONIC is
shifted for processes, but not for programs. A life sign by the wrong one would
look days old, or come from the future and never run out.
"""

from __future__ import annotations

import functools
from pathlib import Path
from time import CLOCK_MONOTONIC, clock_gettime_ns

_OFFSETS = Path("/proc/self/timens_offsets")  # of 5.6 and later


def kernel_ns() -> int:
    """What bpf_ktime_get_ns would give now."""
    return clock_gettime_ns(CLOCK_MONOTONIC) - _offset_ns()


@functools.cache
def _offset_ns() -> int:
    """How far this process's time namespace is ahead; none changes in a process's life."""
    try:
        return decode(_OFFSETS.read_text())
    except OSError:
        return 0


def decode(offsets: str) -> int:
    """The offset of CLOCK_MONOTONIC in ns: a line ``monotonic SECONDS NANOSECONDS``."""
    for line in offsets.splitlines():
        words = line.split()
        if words[:1] == ["monotonic"] and len(words) == 3:
            return int(words[1]) * 10**9 + int(words[2])
    return 0
