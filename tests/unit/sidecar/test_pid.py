"""Processes that are not our children."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path

from interceptor.host import command
from interceptor.sidecar import pid
from interceptor.sidecar.launch import Record


def test_a_process_is_found_by_its_start_and_not_by_its_pid_alone() -> None:
    ticks = pid.read_start_ticks(os.getpid())
    assert ticks > 0
    pidfd = pid.open_pidfd(Record(os.getpid(), ticks, ""))
    assert pidfd >= 0
    os.close(pidfd)
    assert pid.open_pidfd(Record(os.getpid(), ticks + 1, "")) == -1
    assert pid.open_pidfd(Record(2**22 + 1, ticks, "")) == -1
    assert pid.open_pidfd(Record(2**22 + 1, -1, "")) == -1


def test_the_end_of_a_process_is_seen_at_once() -> None:
    child = command.start(["sleep", "60"])

    async def go() -> None:
        waiting = asyncio.create_task(pid.wait_ended(child.pidfd))
        await asyncio.sleep(0)
        assert not waiting.done()
        pid.send_signal(child.pidfd, signal.SIGKILL)
        async with asyncio.timeout(5):
            await waiting
        assert pid.read_start_ticks(child.pid) == -1, "a zombie counts as gone"

    try:
        asyncio.run(go())
    finally:
        child.stop()


def test_a_record_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert pid.read_record(tmp_path / "none") is None


def test_a_listening_port_is_seen_without_a_connection() -> None:
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as server:
            server.bind((address, 0))
            port = server.getsockname()[1]
            assert not pid.is_listening(port)
            server.listen()
            assert pid.is_listening(port)
