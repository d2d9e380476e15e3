"""A person's word that the host can still be reached: a key press, or a call elsewhere."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import structlog

from interceptor.host import fuse
from interceptor.host.lifeline import CONFIRMED, Lifeline

log = structlog.get_logger(__name__)


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


class Confirmation:
    """`run --confirm`: whether somebody was asked, and has said that it works."""

    def __init__(self, run_dir: Path, lifeline: Lifeline) -> None:
        self.given = asyncio.Event()
        self._run_dir, self._lifeline = run_dir, lifeline
        self._is_asked = False

    async def wait(self, limit_s: float) -> bool:
        """Whether it was given in time: then it will not be asked for again."""
        self._is_asked = True
        if not await wait_confirmed(self.given, limit_s):
            log.error("not confirmed in time; everything is taken back", limit_s=limit_s)
            return False
        self._lifeline.tell(CONFIRMED)  # a daemon that is started again must not ask anew
        fuse.put_out(self._run_dir)
        return True

    def is_pending(self) -> bool:
        return self._is_asked and not self.given.is_set()

    def give(self) -> bool:
        """Somebody says so. Whether that was still open."""
        waited = not self.given.is_set()
        self.given.set()
        return waited
