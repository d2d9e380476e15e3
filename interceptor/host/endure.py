"""Work that goes on where the host is short of something: descriptors, memory, disk."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from interceptor.errors import InterceptorError

log = logging.getLogger(__name__)

PAUSE_S = 1.0
Result = TypeVar("Result")

PASSING = (OSError, MemoryError, InterceptorError)
"""What a host may get over. Anything else is a bug, and ends the daemon: it is started again."""


async def endure(what: str, work: Callable[[], Awaitable[Result]]) -> Result:
    """``work`` until it comes to its end, begun anew after each failure that may pass.

    A reason is told once, as long as no other comes between.
    """
    told = ""
    while True:
        try:
            return await work()
        except PASSING as error:
            reason = f"{type(error).__name__}: {error}"
            if reason != told:
                log.error("%s: tried again each %g s: %s", what, PAUSE_S, reason)
            told = reason
        await asyncio.sleep(PAUSE_S)
