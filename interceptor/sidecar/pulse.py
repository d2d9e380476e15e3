"""Whether Envoy still does its work: one of its worker threads is asked, again and again.

Not the admin interface: that is the main thread's, which a large change of the
configuration may keep busy for long while connections go on. The path is one
that the readiness listener does not know, so that a worker answers it (404) by
itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from time import monotonic

PAUSE_S = 1.0
ANSWER_S = 1.0
HUNG_S = 2.5  # three questions without an answer, at most 4 s after the last one that had one
END_S = 10.0
"""A stopped Envoy that somebody lets go on again loses no connection; one that stays silent for
so long has none that is worth keeping."""

REQUEST = b"GET /pulse HTTP/1.0\r\n\r\n"


async def ask(port: int) -> bool:
    """Whether a worker answers on the readiness port, within ANSWER_S."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(ANSWER_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(REQUEST)
            return (await reader.read(5)).startswith(b"HTTP/")
    except (OSError, TimeoutError):
        return False
    finally:
        if writer is not None:
            writer.close()


async def follow(port: int) -> AsyncIterator[float]:
    """For how many seconds there was no answer, after each question; 0.0: there is one."""
    heard_s = monotonic()
    while True:
        asked_s = monotonic()
        if await ask(port):
            heard_s = monotonic()
            yield 0.0
        else:
            yield monotonic() - heard_s
        await asyncio.sleep(max(0.0, PAUSE_S - (monotonic() - asked_s)))
