"""Takes the capture back where nobody says that it may stay: `run --confirm` over a dead daemon.

The daemon takes back by itself when its time is up. But one that is killed or
hangs before could lock out for good whoever sits at the other end of an SSH
connection. So a process apart, in a session of its own, watches a file: the
daemon removes it once it has its confirmation. When the watched process ends
before that, or the time and the grace are over, the fuse ends it and becomes
`interceptor clean`.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from interceptor.host import command

PATTERN = "unconfirmed-*.yaml"
GRACE_S = 8.0  # for a daemon that takes back by itself, besides its draining
POLL_S = 0.2
PACKAGE = Path(__file__).parents[2]

# It outlives us, and Python complains of a child that it forgets.
_LIT: list[command.Process] = []


def light(run_dir: Path, config: str, limit_s: float, watched: int) -> None:
    """Start the fuse of process ``watched``, unless it burns already. ``config``: the whole
    configuration, which `clean` is to be run with. Raises CommandFailed, OSError."""
    file = run_dir / PATTERN.replace("*", str(watched))
    run_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return  # that of the daemon before, whose time goes on
    with os.fdopen(descriptor, "w") as writer:
        writer.write(config)
    paths = filter(None, [str(PACKAGE), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    argv = [sys.executable, "-m", __name__, str(file), f"{limit_s:g}", str(watched)]
    started = command.start(argv, env=environment, detached=True, stdout=None, stderr=None)
    started.close()
    _LIT.append(started)


def put_out(run_dir: Path) -> None:
    """It is confirmed: what is captured stays."""
    for file in run_dir.glob(PATTERN):
        file.unlink(missing_ok=True)


def wait(file: Path, pidfd: int, limit_s: float) -> bool:
    """Whether it burns through: ``file`` is there still when the process has ended, or when the
    time is up."""
    until_s = time.monotonic() + limit_s
    while file.exists():
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            return True
        if select.select([pidfd], [], [], min(POLL_S, left_s))[0]:
            return file.exists()
    return False


def main(argv: Sequence[str]) -> int:
    """FILE SECONDS PID. Becomes `interceptor clean` where it burns through."""
    file, limit_s, watched = Path(argv[0]), float(argv[1]), int(argv[2])
    try:
        pidfd = os.pidfd_open(watched)
    except ProcessLookupError:
        pidfd = -1
    if pidfd >= 0:
        if not wait(file, pidfd, limit_s):
            return 0
        try:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            select.select([pidfd], [], [], 5)
        except ProcessLookupError:
            pass
    # Those who die with their parent need a moment for it; `clean` refuses beside a daemon.
    time.sleep(POLL_S)
    clean = "from interceptor.cli.main import main; main()"
    os.execv(sys.executable, [sys.executable, "-c", clean, "clean", "--config", str(file)])


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
