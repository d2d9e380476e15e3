"""A confirmation in time, or none."""

from __future__ import annotations

import asyncio
from pathlib import Path

from interceptor.host.confirmation import Confirmation, wait_confirmed
from interceptor.host.lifeline import Lifeline


def test_silence_is_a_no() -> None:
    assert asyncio.run(wait_confirmed(asyncio.Event(), 0.01)) is False


def test_a_word_in_time_is_a_yes() -> None:
    async def main() -> bool:
        confirmed = asyncio.Event()
        waiting = asyncio.create_task(wait_confirmed(confirmed, 5))
        await asyncio.sleep(0)
        confirmed.set()
        return await waiting

    assert asyncio.run(main()) is True


def test_a_confirmation_is_open_from_when_it_is_asked_for_until_it_is_given(tmp_path: Path) -> None:
    async def main() -> None:
        one = Confirmation(tmp_path, Lifeline())
        assert not one.is_pending()
        waiting = asyncio.create_task(one.wait(5))
        await asyncio.sleep(0)
        assert one.is_pending()
        assert one.give()
        assert await waiting
        assert not one.is_pending()
        assert not one.give()

    asyncio.run(main())


def test_a_confirmation_that_does_not_come_stays_open(tmp_path: Path) -> None:
    async def main() -> None:
        one = Confirmation(tmp_path, Lifeline())
        assert not await one.wait(0.01)
        assert one.is_pending()

    asyncio.run(main())
