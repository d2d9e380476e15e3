"""Programs that do not end, do not listen, or say too much."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from interceptor.host import bounded
from interceptor.host.command import NOT_FOUND, TIMED_OUT, Completed

LATE_S = 20  # for a machine under load; every limit here is far below


def run(argv: list[str], timeout_s: float = LATE_S, limit_bytes: int = 4096) -> Completed:
    return asyncio.run(bounded.run(argv, timeout_s, limit_bytes))


def sh(script: str, timeout_s: float = LATE_S, limit_bytes: int = 4096) -> Completed:
    return run(["sh", "-c", script], timeout_s, limit_bytes)


def is_gone(pid: int) -> bool:
    """Ended, reaped or not: a child of a child is somebody else's to reap."""
    for _ in range(100):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


def test_code_and_both_outputs_are_told() -> None:
    assert sh("echo out; echo err >&2; exit 3") == Completed(3, "out\nerr\n", "")


def test_a_signal_that_ended_it_is_a_negative_code() -> None:
    assert sh("kill -TERM $$").code == -15


def test_a_program_that_is_not_there_is_told() -> None:
    done = run(["/nonexistent/program"])
    assert done.code == NOT_FOUND
    assert "/nonexistent/program" in done.stderr


def test_at_the_limit_it_is_ended_though_it_ignores_sigterm(tmp_path: Path) -> None:
    told = tmp_path / "pids"
    script = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = os.fork()\n"
        f"open({str(told)!r}, 'a').write(f'{{os.getpid()}}\\n')\n"
        "time.sleep(600)\n"
    )
    done = run([sys.executable, "-S", "-c", script], timeout_s=3)
    assert done.code == TIMED_OUT
    pids = [int(line) for line in told.read_text().split()]
    assert len(pids) == 2
    assert all(is_gone(pid) for pid in pids)


def test_a_program_that_heeds_sigterm_may_say_goodbye() -> None:
    done = sh("trap 'echo bye; exit 0' TERM; echo in; while :; do sleep 0.05; done", timeout_s=1)
    assert done.code == TIMED_OUT
    assert "bye" in done.stdout.splitlines()


def test_what_it_leaves_in_its_group_ends_with_it(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    done = sh(f"sleep 600 & echo $! > {told}")
    assert done.code == 0
    assert is_gone(int(told.read_text()))


def test_output_is_cut_and_nobody_waits_for_a_reader() -> None:
    done = sh("head -c 10000000 /dev/zero | tr '\\0' x; exit 7", limit_bytes=1000)
    assert done == Completed(7, "x" * 1000, "")


def test_no_descriptor_and_no_child_is_left() -> None:
    async def main() -> tuple[int, int]:
        await bounded.run(["true"], LATE_S)
        before = len(os.listdir("/proc/self/fd"))
        for argv in (["true"], ["sleep", "60"], ["/nonexistent"]):
            await bounded.run(argv, 0.3)
        return before, len(os.listdir("/proc/self/fd"))

    before, after = asyncio.run(main())
    assert before == after


def test_being_cancelled_ends_it() -> None:
    async def main() -> float:
        began_s = time.monotonic()
        running = asyncio.create_task(bounded.run(["sleep", "600"], 600))
        await asyncio.sleep(0.1)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return time.monotonic() - began_s

    assert asyncio.run(main()) < LATE_S
