"""This process's share of the host: descriptors, and its turn when memory runs out."""

from __future__ import annotations

import resource
from contextlib import suppress

SUPERVISOR = -900
"""A few MB, and everything ends with it: killing it frees the most for the least gain."""
DAEMON = -500
"""As in the systemd unit. Its end takes the DNS worker along."""
WORKER = -400
"""Started again within a second; names of the mesh pass meanwhile (with ebpf they do not)."""
SIDECAR = 0
"""An application like others: what grows in it is the applications' traffic."""


def raise_files() -> None:
    """As many descriptors as this process may have at all: setrlimit(2), soft to hard.

    A TCP/53 client takes two, and so does a connection through Envoy.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def files() -> int:
    """How many descriptors this process may have open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def rank(score: int, pid: int | str = "self") -> bool:
    """How gladly the kernel ends a process when memory runs out: -1000 never, 1000 first
    (oom_score_adj, proc(5)). False where we may not, as in some containers."""
    try:
        with open(f"/proc/{pid}/oom_score_adj", "w") as file:
            file.write(str(score))
    except OSError:
        return False
    return True
