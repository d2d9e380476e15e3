"""The loop that every file source shares: look, tell, wait for a reason to look again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from interceptor.source.event import Event
from interceptor.source.inotify import Watch
from interceptor.source.pending import SETTLE_S

_PATIENCE_S = 1.0  # between looks when nothing is heard: file systems without inotify


class Reader(Protocol):
    """Something that reads files again when they have changed. Runs in a thread."""

    def folders(self) -> Iterable[str]:
        """The folders whose events matter now."""

    def look(self, whole: frozenset[str]) -> list[Event]:
        """Reads what has changed and is not changing still; returns what to tell.

        The writers of the paths in ``whole`` are known to be done.
        """

    @property
    def is_waiting(self) -> bool:
        """Whether something was left for later because it may be changing still."""

    def save(self) -> None:
        """Writes down what has to survive a restart; never raises."""


async def follow(reader: Reader) -> AsyncIterator[Event]:
    """The events of ``reader``, for ever. The first look takes files as they are."""
    watch = Watch()
    bell = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(watch.fd, bell.set)
    saving: asyncio.Task[None] | None = None
    try:
        watch.cover(await asyncio.to_thread(reader.folders))
        whole = frozenset[str]()
        while True:
            events = await asyncio.to_thread(reader.look, whole)
            if events:
                if saving is not None:
                    await saving
                saving = asyncio.create_task(asyncio.to_thread(reader.save))
            for event in events:
                yield event
            if watch.cover(await asyncio.to_thread(reader.folders)):
                whole = frozenset()
                continue  # something may have happened there before we watched it
            with suppress(TimeoutError):
                await asyncio.wait_for(bell.wait(), SETTLE_S if reader.is_waiting else _PATIENCE_S)
            bell.clear()
            whole = frozenset(watch.recv())
    finally:
        loop.remove_reader(watch.fd)
        watch.close()
        if saving is not None:
            await saving


def begin(events: AsyncIterator[Event]) -> AsyncIterator[Event]:
    """The same events, the first of which is being worked on from now on, whoever waits for it.
    To be called with a running loop."""
    first = asyncio.ensure_future(anext(events))

    async def every() -> AsyncIterator[Event]:
        yield await first
        async for event in events:
            yield event

    return every()


def existing(path: Path) -> str:
    """``path``, or the nearest folder above it that exists."""
    while not path.is_dir() and path != path.parent:
        path = path.parent
    return str(path)
