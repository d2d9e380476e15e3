from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing, suppress
from pathlib import Path

import pytest

from interceptor.mesh.table import EMPTY, Difference
from interceptor.source import watch as watches
from interceptor.source.event import Event, Loaded, Rejected
from interceptor.source.watch import begin, existing, follow


class Diary:
    """A reader that tells of each file that was finished, and of nothing else."""

    is_waiting = False
    is_unsaved = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.saved = 0
        self.has_looked = threading.Event()
        self.seen: list[frozenset[str]] = []

    def folders(self) -> set[str]:
        return {existing(self._folder)}

    def look(self, whole: frozenset[str]) -> list[Event]:
        self.seen.append(whole)
        self.has_looked.set()
        if len(self.seen) == 1:
            return [Rejected(()), Loaded(EMPTY, Difference(), 0.0)]
        return [Loaded(EMPTY, Difference(), 0.0)] if whole else []

    def save(self, *, is_last: bool = False) -> None:
        self.saved += 1
        self.is_last = is_last


def test_events_are_told_in_order_and_saved_before_the_end(tmp_path: Path) -> None:
    diary = Diary(tmp_path)

    async def main() -> None:
        async with aclosing(follow(diary)) as events:
            assert isinstance(await anext(events), Rejected)
            assert isinstance(await anext(events), Loaded)
            waiting = asyncio.ensure_future(anext(events))
            await asyncio.sleep(0.05)
            (tmp_path / "a").write_text("x")
            await waiting

    asyncio.run(asyncio.wait_for(main(), 10))
    assert frozenset({str(tmp_path / "a")}) in diary.seen
    assert diary.saved >= 2
    assert diary.is_last


def test_nothing_is_left_open(tmp_path: Path) -> None:
    before = set(Path("/proc/self/fd").iterdir())

    async def main() -> None:
        async with aclosing(follow(Diary(tmp_path))) as events:
            await anext(events)

    asyncio.run(main())
    assert set(Path("/proc/self/fd").iterdir()) <= before


def test_the_nearest_folder_that_exists_stands_for_one_that_does_not(tmp_path: Path) -> None:
    assert existing(tmp_path / "x/y") == str(tmp_path)
    assert existing(tmp_path) == str(tmp_path)


def test_a_stream_that_has_begun_reads_before_anybody_asks(tmp_path: Path) -> None:
    diary = Diary(tmp_path)

    async def main() -> None:
        events = begin(follow(diary))
        assert await asyncio.to_thread(diary.has_looked.wait, 5)
        told = [await anext(events), await anext(events)]
        assert [type(event) for event in told] == [Rejected, Loaded]
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})

    asyncio.run(main())
    assert diary.saved >= 1
    assert diary.is_last


def test_a_disk_that_hangs_does_not_stop_the_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watches, "_LAST_S", 0.1)
    diary, disk = Diary(tmp_path), threading.Event()
    monkeypatch.setattr(diary, "save", lambda *, is_last=False: disk.wait(20))

    async def main() -> None:
        async with aclosing(follow(diary)) as events:
            for _ in range(2):
                await anext(events)
            for name in ("a", "b"):
                waiting = asyncio.ensure_future(anext(events))
                await asyncio.sleep(0.05)
                (tmp_path / name).write_text("x")
                await asyncio.wait_for(waiting, 5)
        disk.set()

    asyncio.run(main())


def test_without_inotify_files_are_looked_at_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """fs.inotify.max_user_instances is 128 for each user, and root is one user."""

    def refuse() -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(watches, "Watch", refuse)
    diary = Diary(tmp_path)

    async def main() -> None:
        async with aclosing(follow(diary)) as events:
            assert isinstance(await anext(events), Rejected)
            assert isinstance(await anext(events), Loaded)
            with suppress(TimeoutError):
                await asyncio.wait_for(anext(events), 1.5)

    asyncio.run(main())
    assert len(diary.seen) == 2
    assert "looked at each second" in caplog.text
