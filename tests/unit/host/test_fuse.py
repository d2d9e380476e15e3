"""What burns through, and what does not: with processes that only sleep."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from interceptor.host import fuse


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as child:
        yield child
        child.kill()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "unconfirmed-1.yaml"
    made.touch()
    return made


def test_a_process_that_ends_before_its_confirmation_burns_through_at_once(
    sleeper: subprocess.Popen[bytes], file: Path
) -> None:
    pidfd = os.pidfd_open(sleeper.pid)
    began = time.monotonic()
    threading.Timer(0.3, sleeper.kill).start()
    assert fuse.wait(file, pidfd, 30)
    assert time.monotonic() - began < 5
    os.close(pidfd)


def test_one_that_hangs_burns_through_when_the_time_is_up(
    sleeper: subprocess.Popen[bytes], file: Path
) -> None:
    pidfd = os.pidfd_open(sleeper.pid)
    sleeper.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    assert fuse.wait(file, pidfd, 0.5)
    assert 0.4 < time.monotonic() - began < 5
    os.close(pidfd)


def test_a_confirmation_puts_it_out(sleeper: subprocess.Popen[bytes], file: Path) -> None:
    pidfd = os.pidfd_open(sleeper.pid)
    threading.Timer(0.3, fuse.put_out, [file.parent]).start()
    assert not fuse.wait(file, pidfd, 30)
    assert not file.exists()
    sleeper.kill()
    assert not fuse.wait(file, pidfd, 30)
    os.close(pidfd)


def test_it_is_lit_once_in_a_session_of_its_own_and_its_file_is_closed_to_others(
    sleeper: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    for _ in range(2):
        fuse.light(tmp_path, "agent: {}\n", 60, sleeper.pid)
    (file,) = tmp_path.glob(fuse.PATTERN)
    assert (file.stat().st_mode & 0o777, file.read_text()) == (0o600, "agent: {}\n")
    end = time.monotonic() + 10
    while len(mine := burning(file)) != 1:  # it was forked, and has to become its program yet
        assert time.monotonic() < end
        time.sleep(0.05)
    assert os.getsid(mine[0]) == mine[0]
    fuse.put_out(tmp_path)
    deadline = time.monotonic() + 10
    while burning(file):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert [each.poll() for each in fuse._LIT] == [0]
    fuse._LIT.clear()


def burning(file: Path) -> list[int]:
    """Fuses of that file, zombies left out."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if os.fsencode(file) in words and os.fsencode(sys.executable) in words[:1]:
            found.append(int(process.name))
    return found
