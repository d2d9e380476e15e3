"""Programs of the host: run to their end, or started as children. The only importer of subprocess.

Every command is logged at debug before it runs, as a line that can be pasted
into a shell. A command that is missing ends with code 127, one that cannot be started
(no memory, no descriptors) with 126 and one that overruns its time limit with
124, as the shell and timeout(1) say it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from interceptor.errors import CommandFailed

log = logging.getLogger(__name__)

NOT_FOUND = 127
NOT_STARTED = 126
TIMED_OUT = 124

Stream = int | IO[bytes] | None
"""A file or descriptor that a child gets as stdout or stderr; None: /dev/null."""

INHERIT = -101
"""Stream value: the child writes where this process does."""


@dataclass(frozen=True, slots=True)
class Completed:
    """How a command ended. ``code`` is negative where a signal ended it."""

    code: int
    stdout: str
    stderr: str

    def __bool__(self) -> bool:
        return self.code == 0


def run(
    argv: Sequence[str], stdin: str | None = None, *, timeout_s: float = 30, check: bool = True
) -> Completed:
    """Run a command to its end, its environment ours with LC_ALL=C.

    Raises CommandFailed unless it ended with 0; never when ``check`` is false.
    """
    log.debug("+ %s%s", shlex.join(argv), "" if stdin is None else f" <<'EOF'\n{stdin}EOF")
    try:
        done = subprocess.run(
            list(argv),
            check=False,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            env=os.environ | {"LC_ALL": "C"},
        )
        completed = Completed(done.returncode, done.stdout, done.stderr)
    except (FileNotFoundError, PermissionError) as error:
        completed = Completed(NOT_FOUND, "", str(error))
    except subprocess.TimeoutExpired:
        completed = Completed(TIMED_OUT, "", f"no end after {timeout_s:g} s")
    except OSError as error:
        completed = Completed(NOT_STARTED, "", str(error))
    if check and completed.code != 0:
        raise CommandFailed(tuple(argv), completed.code, completed.stderr)
    return completed


async def run_async(
    argv: Sequence[str], stdin: str | None = None, *, timeout_s: float = 30, check: bool = True
) -> Completed:
    """`run` in a thread, so that an event loop goes on meanwhile."""
    return await asyncio.to_thread(run, argv, stdin, timeout_s=timeout_s, check=check)


class Process:
    """A long-lived child. The pidfd is ours until `close`, and readable once it has ended."""

    def __init__(self, child: subprocess.Popen[bytes], argv: tuple[str, ...]) -> None:
        self._child = child
        self.argv = argv
        self.pid = child.pid
        self.pidfd = os.pidfd_open(child.pid)

    def poll(self) -> int | None:
        """The exit code (negative: signal), or None while it runs. Reaps the child."""
        return self._child.poll()

    def wait(self, timeout_s: float) -> int | None:
        """As `poll`, waiting at most ``timeout_s``."""
        try:
            return self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended and been reaped."""
        self._child.send_signal(number)

    def stop(self, grace_s: float = 3) -> int:
        """SIGTERM, then SIGKILL after ``grace_s``. Returns the exit code; twice is no harm."""
        if self.poll() is None:
            self.signal(signal.SIGTERM)
            if self.wait(grace_s) is None:
                self.signal(signal.SIGKILL)
        code = self._child.wait()
        self.close()
        return code

    def close(self) -> None:
        """Give the pidfd back; the child goes on."""
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1


def _stream(stream: Stream) -> int | IO[bytes] | None:
    if stream is None:
        return subprocess.DEVNULL
    return None if stream == INHERIT else stream


def start(
    argv: Sequence[str],
    *,
    pass_fds: Sequence[int] = (),
    env: Mapping[str, str] | None = None,
    detached: bool = False,
    stdout: Stream = INHERIT,
    stderr: Stream = INHERIT,
    user: int | None = None,
    group: int | None = None,
) -> Process:
    """Start a child with /dev/null as its stdin. Raises CommandFailed when it cannot be executed.

    ``env`` is the whole environment (None: ours). ``detached`` puts it in a
    session of its own, so that it outlives us and our terminal. ``user`` and
    ``group`` are numeric ids; with either, supplementary groups are dropped.
    """
    log.debug("+ %s &", shlex.join(argv))
    try:
        child = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=_stream(stdout),
            stderr=_stream(stderr),
            pass_fds=tuple(pass_fds),
            env=None if env is None else dict(env),
            start_new_session=detached,
            user=user,
            group=group,
            extra_groups=None if user is None and group is None else [],
        )
    except OSError as error:
        raise CommandFailed(tuple(argv), NOT_FOUND, str(error)) from error
    try:
        return Process(child, tuple(argv))
    except OSError as error:  # no descriptor left for its pidfd
        child.kill()
        child.wait()
        raise CommandFailed(tuple(argv), NOT_STARTED, str(error)) from error
