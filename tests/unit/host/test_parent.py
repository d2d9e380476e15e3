"""Real processes: a child that asked for it ends or wakes with its parent's end, even while it
is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

CHILD = """
import os, sys, time
from interceptor.host import parent
if sys.argv[1] == "bound":
    parent.die_with(os.getppid())
elif sys.argv[1] == "late":
    parent.die_with(os.getppid() + 1)
elif sys.argv[1] == "woken":
    parent.wake_with()
print(os.getpid(), flush=True)
time.sleep(30)
"""
PARENT = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[2]]).wait()
"""


def start(how: str) -> tuple[subprocess.Popen[str], int]:
    argv = [sys.executable, "-c", PARENT, CHILD, how]
    above = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert above.stdout is not None
    return above, int(above.stdout.readline() or 0)


def has_ended(pid: int) -> bool:
    """Whether it is gone, or a zombie that nobody here reaps."""
    for _ in range(300):
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] in ("Z", "X"):
                    return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


def becomes(pid: int, state: str) -> bool:
    for _ in range(300):
        with open(f"/proc/{pid}/stat") as file:
            if file.read().rpartition(")")[2].split()[0] == state:
                return True
        time.sleep(0.01)
    return False


def end(above: subprocess.Popen[str]) -> None:
    above.kill()
    above.wait(5)
    assert above.stdout is not None
    above.stdout.close()


def test_a_stopped_child_ends_with_its_parent() -> None:
    above, pid = start("bound")
    assert pid > 1
    os.kill(pid, signal.SIGSTOP)
    end(above)
    assert has_ended(pid)


def test_a_child_that_did_not_ask_goes_on() -> None:
    above, pid = start("free")
    assert pid > 1
    try:
        end(above)
        time.sleep(0.2)
        os.kill(pid, 0)
    finally:
        os.kill(pid, signal.SIGKILL)


def test_a_stopped_child_wakes_when_its_parent_ends() -> None:
    above, pid = start("woken")
    assert pid > 1
    try:
        os.kill(pid, signal.SIGSTOP)
        assert becomes(pid, "T")
        end(above)
        assert becomes(pid, "S")
    finally:
        os.kill(pid, signal.SIGKILL)


def test_a_child_whose_parent_went_before_it_asked_ends_at_once() -> None:
    above, pid = start("late")
    assert (pid, above.wait(5)) == (0, 0)
    end(above)
