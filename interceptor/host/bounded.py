"""A program with a time limit that holds for its children too, and output that cannot fill us."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress

from interceptor.errors import CommandFailed
from interceptor.host import command, wait
from interceptor.host.command import TIMED_OUT, Completed, Process

GRACE_S = 0.5  # between SIGTERM and SIGKILL
REAP_S = 0.2  # after SIGKILL; what hangs in the kernel is left to it
CHUNK = 65536


class _Output:
    """The first ``limit`` bytes of a pipe; the rest is read and dropped, so that nobody waits."""

    def __init__(self, descriptor: int, limit: int) -> None:
        self._descriptor, self._limit = descriptor, limit
        self.data = b""
        os.set_blocking(descriptor, False)
        asyncio.get_running_loop().add_reader(descriptor, self.read)

    def read(self) -> None:
        try:
            chunk = os.read(self._descriptor, CHUNK)
        except BlockingIOError:
            return
        self.data += chunk[: self._limit - len(self.data)]
        if not chunk:
            asyncio.get_running_loop().remove_reader(self._descriptor)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)


async def run(argv: Sequence[str], timeout_s: float, limit_bytes: int = 4096) -> Completed:
    """Run a program in a process group of its own; its stdout and stderr as one text, cut.

    At the time limit the group gets SIGTERM, then SIGKILL, and the code is
    TIMED_OUT. What it left running in its group is killed when it ends.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    output = _Output(reading, limit_bytes)
    try:
        try:
            process = command.start(argv, detached=True, stdout=writing, stderr=writing)
        except CommandFailed as error:
            return Completed(error.code, "", error.stderr)
        finally:
            os.close(writing)
        code = await _ended(process, timeout_s)
        output.read()
        return Completed(code, output.data.decode(errors="replace"), "")
    finally:
        output.close()


async def _ended(process: Process, timeout_s: float) -> int:
    """The exit code. The group is signalled only while its leader is not reaped, so that its
    number cannot be another's."""
    try:
        if await _has_ended(process, timeout_s):
            return _end_group(process)
        _signal(process, signal.SIGTERM)
        await _has_ended(process, GRACE_S)
        return TIMED_OUT
    finally:
        _end_group(process)


async def _has_ended(process: Process, limit_s: float) -> bool:
    try:
        async with asyncio.timeout(limit_s):
            await wait.readable(process.pidfd)
    except TimeoutError:
        return False
    return True


def _end_group(process: Process) -> int:
    if process.pidfd < 0:
        return TIMED_OUT
    _signal(process, signal.SIGKILL)
    code = process.wait(REAP_S)
    process.close()
    return TIMED_OUT if code is None else code


def _signal(process: Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
