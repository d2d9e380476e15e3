"""The lock of legacy iptables, on a file of our own."""

from __future__ import annotations

import os
import select
from pathlib import Path

from interceptor.host import netlink, xtlock


def is_told(descriptor: int) -> bool:
    news = select.poll()  # select(2) knows the first 1024 descriptors of a process only
    news.register(descriptor, select.POLLIN)
    return bool(news.poll(50))


def test_whoever_takes_the_lock_and_gives_it_back_is_told_of(tmp_path: Path) -> None:
    lock = tmp_path / "xtables.lock"
    lock.touch()
    descriptor = xtlock.events(lock)
    assert descriptor is not None
    try:
        assert not is_told(descriptor)
        with lock.open():
            assert not is_told(descriptor), "it is held still: nothing is to be seen yet"
        assert is_told(descriptor)
        assert netlink.drain(descriptor) == 1
        assert not is_told(descriptor)
    finally:
        os.close(descriptor)


def test_without_a_lock_there_is_nothing_to_hear(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    assert xtlock.events(tmp_path / "none") is None
    assert len(os.listdir("/proc/self/fd")) == before
