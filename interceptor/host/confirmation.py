"""A person's word that the host can still be reached: a key press, or a call elsewhere."""

from __future__ import annotations

import asyncio
import sys


async def wait_confirmed(confirmed: asyncio.Event, limit_s: float) -> bool:
    """Whether ``confirmed`` was set in time. Enter on a terminal sets it too."""
    loop = asyncio.get_running_loop()
    has_terminal = sys.stdin.isatty()
    if has_terminal:
        loop.add_reader(sys.stdin, confirmed.set)
        print(f"press Enter within {limit_s:g} s to keep the capture", file=sys.stderr)
    try:
        async with asyncio.timeout(limit_s):
            await confirmed.wait()
    except TimeoutError:
        return False
    finally:
        if has_terminal:
            loop.remove_reader(sys.stdin)
    return True
