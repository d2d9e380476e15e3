"""One daemon a run directory, and a crash frees the lock."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from interceptor.errors import InterceptorError
from interceptor.host import command, lock
from interceptor.host.lock import Lock

HOLD = """
import sys, time
from pathlib import Path
from interceptor.host.lock import Lock
with Lock(Path(sys.argv[1])):
    Path(sys.argv[2]).touch()
    time.sleep(30)
"""


def hold(path: Path) -> command.Process:
    """Another process that has the lock."""
    flag = path.with_name("held")
    process = command.start([sys.executable, "-c", HOLD, str(path), str(flag)])
    while not flag.exists():
        assert process.poll() is None
    return process


def test_a_second_daemon_is_told_who_the_first_is(tmp_path: Path) -> None:
    process = hold(tmp_path / "lock")
    try:
        assert lock.holder(tmp_path / "lock") == process.pid
        with pytest.raises(InterceptorError, match=f"pid {process.pid}"), Lock(tmp_path / "lock"):
            pass
    finally:
        process.stop()


def test_a_killed_daemon_holds_nothing(tmp_path: Path) -> None:
    process = hold(tmp_path / "lock")
    process.signal(9)  # type: ignore[arg-type]
    process.wait(5)
    process.close()
    assert lock.holder(tmp_path / "lock") == 0
    with Lock(tmp_path / "lock"):
        pass


def test_a_clean_end_leaves_no_file(tmp_path: Path) -> None:
    with Lock(tmp_path / "run" / "lock"):
        assert (tmp_path / "run" / "lock").exists()
    assert not (tmp_path / "run" / "lock").exists()
    assert lock.holder(tmp_path / "run" / "lock") == 0
