"""Waiting for the host inside an event loop: descriptors, connections, files that change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from pathlib import Path

from interceptor.host import netlink
from interceptor.host.tcptable import ESTABLISHED, LISTEN, has_sockets

DRAIN_POLL_S = 0.1
CANCEL_AGAIN_S = 0.5
LOOK_S = 1.0  # how often a file is looked at
STILL_S, STILL_LOOKS = 0.1, 5  # a file that is being written is looked at again, so often at most
SETTLE_S = 0.3  # links, addresses and routes change in swarms


async def cancelled(tasks: Collection[asyncio.Task[object]]) -> None:
    """Until all of them have ended. One that took its cancellation for something else, as
    much of asyncio can in a bad moment, is told again."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=CANCEL_AGAIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)  # nobody else asks how they ended


async def readable(descriptor: int) -> None:
    """Until a descriptor can be read."""
    loop = asyncio.get_running_loop()
    woken = asyncio.Event()
    loop.add_reader(descriptor, woken.set)
    try:
        await woken.wait()
    finally:
        loop.remove_reader(descriptor)


async def drained(port: int, limit_s: float) -> bool:
    """Until no connection to a local port is open, at most ``limit_s``: without its nat
    chain a captured connection would hang. Whether none is left."""
    for _ in range(max(1, round(limit_s / DRAIN_POLL_S))):
        if not has_sockets(port, ESTABLISHED):
            return True
        await asyncio.sleep(DRAIN_POLL_S)
    return False


async def listening_changes(port: int, look_s: float = DRAIN_POLL_S) -> AsyncIterator[bool]:
    """Whether somebody of this network namespace listens on a port: at first, and whenever
    that changes."""
    before: bool | None = None
    while True:
        now = has_sockets(port, LISTEN)
        if now is not before:
            before = now
            yield now
        await asyncio.sleep(look_s)


Stamp = tuple[int, int, int, int] | None


def stamp(path: Path) -> Stamp:
    """What changes when a file is written or exchanged, links followed; None without one."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)


async def file_changes(*paths: Path, look_s: float = LOOK_S) -> AsyncIterator[None]:
    """One item for each time that some of the files were found changed, and are still again:
    who writes a file empties it first.

    Looked at rather than watched: it may be a link to a file in a folder that
    does not exist yet.
    """
    seen = [stamp(path) for path in paths]
    while True:
        await asyncio.sleep(look_s)
        now = [stamp(path) for path in paths]
        if now == seen:
            continue
        for _ in range(STILL_LOOKS):
            before = now
            await asyncio.sleep(min(STILL_S, look_s))
            if (now := [stamp(path) for path in paths]) == before:
                break
        if now != seen:
            seen = now
            yield


async def link_changes() -> AsyncIterator[None]:
    """One item at once (what happened before anybody listened), then one for each swarm of
    changes of links, addresses, routes and routing rules in this network namespace."""
    with netlink.open_links() as events:
        while True:
            yield
            await readable(events.fileno())
            await asyncio.sleep(SETTLE_S)
            netlink.drain(events.fileno())
