"""When something was: a date to show, which another boot can still tell, and a clock that holds.

The only module of the agent that asks for the wall clock. Nothing is decided by it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # random(4)


@dataclass(frozen=True, slots=True)
class Moment:
    """``wall_s`` counts from 1970; ``boot_s`` from the boot that ``boot`` names, and goes on
    while the machine sleeps. Within one boot a clock that jumps does not matter."""

    wall_s: float
    boot: str
    boot_s: float


def now() -> Moment:
    """This moment."""
    try:
        boot = _BOOT_ID.read_text().strip()
    except OSError:
        boot = ""
    return Moment(time.time(), boot, time.clock_gettime(time.CLOCK_BOOTTIME))


def age_s(then: Moment, since: Moment) -> float:
    """From ``then`` to ``since``, in seconds; never negative, whatever the clocks did."""
    if then.boot and then.boot == since.boot:
        return max(0.0, since.boot_s - then.boot_s)
    return max(0.0, since.wall_s - then.wall_s)
