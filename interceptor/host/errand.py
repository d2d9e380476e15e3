"""A short errand as another user, in another cgroup: done by a child that is gone afterwards."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable
from pathlib import Path

from interceptor.errors import InterceptorError

LIMIT_BYTES = 64 * 1024


def call(
    errand: Callable[[], bytes],
    uid: int | None = None,
    gid: int | None = None,
    processes: Path | None = None,
    timeout_s: float = 15.0,
) -> bytes:
    """What ``errand`` returns, run as that user and group, in the cgroup whose cgroup.procs
    ``processes`` is. Raises InterceptorError where it fails, or is not done in time.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        _serve(errand, writer, uid, gid, processes)
    os.close(writer)
    try:
        data = _recv(reader, timeout_s)
    finally:
        os.close(reader)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    if data[:1] != b"+":
        words = data[1:].decode(errors="replace") or f"no answer within {timeout_s:g} s"
        raise InterceptorError(f"the probe could not be made: {words}")
    return data[1:]


def _serve(
    errand: Callable[[], bytes],
    writer: int,
    uid: int | None,
    gid: int | None,
    processes: Path | None,
) -> None:
    """The child: never returns."""
    try:
        if processes is not None:
            processes.write_text(str(os.getpid()))
        if uid is not None or gid is not None:
            if os.geteuid() == 0:
                os.setgroups([])
            os.setresgid(*(gid if gid is not None else os.getgid(),) * 3)
            os.setresuid(*(uid if uid is not None else os.getuid(),) * 3)
        data = b"+" + errand()
    except BaseException as error:  # whatever it is, the parent has to hear of it
        data = b"-" + str(error).encode()
    os.write(writer, data[:LIMIT_BYTES])
    os._exit(0)


def _recv(reader: int, timeout_s: float) -> bytes:
    data = b""
    while select.select([reader], [], [], timeout_s)[0]:
        more = os.read(reader, LIMIT_BYTES)
        if not more:
            break
        data += more
    return data
