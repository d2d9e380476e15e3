from __future__ import annotations

import asyncio
import errno

import pytest

from interceptor.errors import CommandFailed
from interceptor.host import endure


def test_what_may_pass_is_tried_again_and_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(endure, "PAUSE_S", 0)
    failures = [
        OSError(errno.EMFILE, "Too many open files"),
        OSError(errno.EMFILE, "Too many open files"),
        MemoryError(),
        CommandFailed(("nft",), 1, "No space left on device"),
    ]

    async def work() -> str:
        if failures:
            raise failures.pop(0)
        return "done"

    assert asyncio.run(endure.endure("rules", work)) == "done"
    assert [record.getMessage().count("Too many") for record in caplog.records] == [1, 0, 0]


def test_a_bug_is_not_endured() -> None:
    async def work() -> None:
        raise ValueError

    with pytest.raises(ValueError):
        asyncio.run(endure.endure("rules", work))
