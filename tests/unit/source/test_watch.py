from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing
from pathlib import Path

from interceptor.mesh.table import EMPTY, Difference
from interceptor.source.event import Event, Loaded, Rejected
from interceptor.source.watch import begin, existing, follow


class Diary:
    """A reader that tells of each file that was finished, and of nothing else."""

    is_waiting = False

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

    def save(self) -> None:
        self.saved += 1


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
    assert diary.saved == 2


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
    assert diary.saved == 1
