"""Query packets of forward zones on their way: taken from a way in, answered by raw packets.

Whoever took the query has dropped it, from a queue or in the kernel's program. The netfilter
queue's thread hands over by `give`, the loop's own by `take`.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable

from interceptor.dns import forward
from interceptor.dns import packet as packets

WAITING = 1024  # between the queue's thread and the loop
OPEN = 1024  # being asked; the forwarder itself refuses more than forward.IN_FLIGHT

Ask = Callable[[bytes], Awaitable[bytes]]
Send = Callable[[bytes, int], None]


class Relay:
    """Made, and used but for `give`, by the loop's thread. ``ask`` gives the reply to a DNS
    message, ``send`` sends a packet towards an interface."""

    def __init__(self, ask: Ask, send: Send) -> None:
        self.counts: Counter[str] = Counter()
        self._ask = ask
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._given: deque[tuple[bytes, int]] = deque()
        self._open: dict[bytes, asyncio.Task[None]] = {}

    def give(self, query: bytes, interface: int) -> None:
        """From another thread. What finds no room is lost, as on the way: its client asks again."""
        if len(self._given) >= WAITING:
            self.counts["forward-lost"] += 1
            return
        self._given.append((query, interface))
        self._loop.call_soon_threadsafe(self._take_given)

    def take(self, query: bytes, interface: int) -> None:
        """Have a query answered, in its time. One that its client repeats is asked once."""
        if query in self._open:
            self.counts["forward-repeated"] += 1
        elif len(self._open) >= OPEN:
            self.counts["forward-lost"] += 1
        else:
            self._open[query] = task = asyncio.create_task(self._bring(query, interface))
            task.add_done_callback(lambda _: self._open.pop(query))

    def close(self) -> None:
        """Let go of what is being asked."""
        for task in self._open.values():
            task.cancel()

    def _take_given(self) -> None:
        self.take(*self._given.popleft())

    async def _bring(self, query: bytes, interface: int) -> None:
        # Whatever goes wrong with one query must not end the others.
        try:
            message = packets.message(query)
            if message is None:
                raise ValueError("not a packet that we took")
            reply = await self._ask(message)
            try:
                self._send(packets.wrap(query, reply), interface)
            except OSError:
                # A raw packet is not cut into fragments: too large for the link (EMSGSIZE).
                self._send(packets.wrap(query, forward.truncate(message, reply)), interface)
        except Exception as error:
            self.counts[f"forward-{type(error).__name__}"] += 1
