"""A confirmation in time, or none."""

from __future__ import annotations

import asyncio

from interceptor.host.confirmation import wait_confirmed


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
