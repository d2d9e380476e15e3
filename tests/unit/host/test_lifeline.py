"""The daemon's life signs, at the other end of a pipe and of a systemd of our own."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from interceptor.host.lifeline import Lifeline


@pytest.fixture
def ends() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    yield reader, writer
    for end in (reader, writer):
        os.close(end)


def live_for(lifeline: Lifeline, length_s: float, block_s: float = 0.0) -> None:
    async def body() -> None:
        keeping = asyncio.create_task(lifeline.keep())
        await asyncio.sleep(length_s)
        time.sleep(block_s)  # noqa: ASYNC251 - the loop is to be blocked
        await asyncio.sleep(0.1)
        keeping.cancel()

    asyncio.run(body())


def test_the_loop_gives_a_sign_and_the_headline_where_it_is_new(ends: tuple[int, int]) -> None:
    lifeline = Lifeline(ends[1])
    lifeline.headline = lambda: "3 hosts"
    live_for(lifeline, 0.7)
    assert os.read(ends[0], 1000) == b"WATCHDOG=1\nSTATUS=3 hosts\nWATCHDOG=1\n"
    assert lifeline.who == "supervisor"


def test_a_blocked_loop_gives_none_and_is_told_of_afterwards(ends: tuple[int, int]) -> None:
    lifeline = Lifeline(ends[1])
    live_for(lifeline, 0.1, block_s=1.2)
    assert os.read(ends[0], 1000).count(b"WATCHDOG=1") == 2
    assert 1.2 < lifeline.longest_s < 2.5


def test_a_supervisor_that_reads_nothing_holds_up_nobody(ends: tuple[int, int]) -> None:
    lifeline = Lifeline(ends[1])
    began_s = time.monotonic()
    assert any(not lifeline.tell("WATCHDOG=1") for _ in range(20_000))
    assert time.monotonic() - began_s < 5


def test_systemd_is_told_several_times_within_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(path))
        systemd.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        monkeypatch.setenv("WATCHDOG_USEC", "800000")
        lifeline = Lifeline()
        assert lifeline.who == "systemd"
        live_for(lifeline, 0.8)
        words = []
        try:
            while True:
                words.append(systemd.recv(100).decode())
        except BlockingIOError:
            pass
    assert words.count("WATCHDOG=1") >= 4
    assert words[0] == "WATCHDOG_USEC=800000", "which a reload makes longer"
    assert words[2] == "STATUS=starting"


def test_without_either_nobody_is_told() -> None:
    lifeline = Lifeline()
    assert (lifeline.who, lifeline.tell("READY=1")) == ("nobody", False)
    live_for(lifeline, 0.1)
