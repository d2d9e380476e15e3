"""The loop that every file source shares: look, tell, wait for a reason to look again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from interceptor.source.event import Event
from interceptor.source.inotify import Watch
from interceptor.source.pending import SETTLE_S

_log = logging.getLogger(__name__)

_LAST_S = 2.0  # for the disk at the end
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

    @property
    def is_unsaved(self) -> bool:
        """Whether there is something to save, and it is time."""

    def save(self, *, is_last: bool = False) -> None:
        """Writes down what has to survive a restart, and is due or ``is_last``; never raises.
        Runs in a thread of its own, beside `look`."""


async def follow(reader: Reader) -> AsyncIterator[Event]:
    """The events of ``reader``, for ever. The first look takes files as they are."""
    bell = asyncio.Event()
    watch = _listen(bell)
    saving: asyncio.Task[None] | None = None
    try:
        whole = frozenset[str]()
        await _cover(watch, reader)
        while True:
            for event in await asyncio.to_thread(reader.look, whole):
                yield event
            # A disk that hangs must not stop the mesh: nobody waits for it here.
            if reader.is_unsaved and (saving is None or saving.done()):
                saving = asyncio.create_task(asyncio.to_thread(reader.save))
            if await _cover(watch, reader):
                whole = frozenset()
                continue  # something may have happened there before we watched it
            # Not wait_for: in Python 3.11 it takes a cancellation for its result when both come.
            with suppress(TimeoutError):
                async with asyncio.timeout(SETTLE_S if reader.is_waiting else _PATIENCE_S):
                    await bell.wait()
            bell.clear()
            whole = frozenset(watch.recv()) if watch is not None else frozenset()
    finally:
        if watch is not None:
            asyncio.get_running_loop().remove_reader(watch.fd)
            watch.close()
        last = asyncio.create_task(_save_last(reader, saving))
        await asyncio.wait({last}, timeout=_LAST_S)


def _listen(bell: asyncio.Event) -> Watch | None:
    """A watch that rings; None where the user has no more of them, and we look now and then."""
    try:
        watch = Watch()
    except OSError as error:
        _log.warning("no inotify, files are looked at each second: %s", error)
        return None
    asyncio.get_running_loop().add_reader(watch.fd, bell.set)
    return watch


async def _cover(watch: Watch | None, reader: Reader) -> bool:
    """Watches the folders that matter now; True if one is new."""
    return watch is not None and watch.cover(await asyncio.to_thread(reader.folders))


async def _save_last(reader: Reader, saving: asyncio.Task[None] | None) -> None:
    if saving is not None:
        await asyncio.wait({saving})
    await asyncio.to_thread(lambda: reader.save(is_last=True))


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
