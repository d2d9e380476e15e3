"""Programs on a host of a lab, without starting one: a forked child goes there.

The child really is in the host's cgroup and namespace, and really is the user: programs
in the kernel look at the process that makes a call, not only at whose socket it is.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from interceptor.lab import removal
from interceptor.lab.world import Lab

CLONE_NEWNET = 0x40000000  # linux/sched.h
LIBC = ctypes.CDLL(None, use_errno=True)
LIMIT_S = 20.0
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Owner:
    """Who makes a call. ``cgroup`` is a child of the host's; ``namespace`` another network
    namespace than the host's, by its whole name."""

    uid: int = 0
    gid: int = 0
    cgroup: str = ""
    namespace: str = ""


ROOT = Owner()


def enter_namespace(name: str) -> None:
    """Move this thread to a named network namespace. Raises OSError."""
    descriptor = os.open(f"/run/netns/{name}", os.O_RDONLY)
    try:
        if LIBC.setns(descriptor, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(descriptor)


def _become(place: Path, namespace: str, owner: Owner) -> None:
    (place / "cgroup.procs").write_text(str(os.getpid()))
    enter_namespace(namespace)
    os.setgroups([])
    os.setresgid(owner.gid, owner.gid, owner.gid)
    os.setresuid(owner.uid, owner.uid, owner.uid)


def run(
    lab: Lab, host: str, function: Callable[..., Result], *args: object, owner: Owner = ROOT
) -> Result:
    """What ``function`` returns (or raises) on ``host``; both have to be picklable.

    Raises TimeoutError when it takes longer than `LIMIT_S`.
    """
    place = removal.cgroup(lab.token, host) / owner.cgroup
    namespace = owner.namespace or lab.namespace(host)
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        answer: tuple[bool, object]
        try:
            _become(place, namespace, owner)
            answer = (True, function(*args))
        except BaseException as error:
            answer = (False, error)
        with os.fdopen(write_end, "wb") as pipe:
            pickle.dump(answer, pipe)
        os._exit(0)
    os.close(write_end)
    try:
        is_right, value = pickle.loads(_read(read_end, pid))
    finally:
        os.close(read_end)
        os.waitpid(pid, 0)
    if not is_right:
        raise value
    return value  # type: ignore[no-any-return]


def _read(descriptor: int, pid: int) -> bytes:
    """All that a child writes. Raises TimeoutError, and ends the child, when it is not done."""
    end, data = time.monotonic() + LIMIT_S, b""
    while True:
        if not select.select([descriptor], [], [], max(0, end - time.monotonic()))[0]:
            os.kill(pid, signal.SIGKILL)
            raise TimeoutError(f"a client did not end within {LIMIT_S:g} s")
        more = os.read(descriptor, 65536)
        if not more:
            return data
        data += more
