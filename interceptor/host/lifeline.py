"""The daemon's word to whoever looks after it: our own supervisor, or systemd.

Both are told in the words of sd_notify(3). The supervisor is at the other end
of a pipe, one line a word; it passes on to systemd what is not for itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from time import monotonic

from interceptor.host import notify

BEAT_S = 0.5
BEAT = "WATCHDOG=1"
EXTEND = "EXTEND_TIMEOUT_USEC="
CONFIRMED = "X_CONFIRMED=1"
RELEASE = "X_RELEASE_S="
AGAIN = "X_AGAIN=1"
HOLD = "X_HOLD="
WATCHDOG = "WATCHDOG_USEC="


class Lifeline:
    """``pipe`` is the end to write to, -1 without a supervisor. ``restarts`` and ``why`` are what
    it did before this daemon; ``is_confirmed``: an earlier one had its confirmation;
    ``releases``: this process is to let go of what is captured, and to run no daemon."""

    def __init__(
        self,
        pipe: int = -1,
        *,
        restarts: int = 0,
        why: str = "",
        is_confirmed: bool = False,
        releases: bool = False,
    ) -> None:
        self.restarts, self.why = restarts, why
        self.is_confirmed, self.releases = is_confirmed, releases
        self.longest_s = 0.0  # between two beats that should be `interval_s` apart
        self.headline: Callable[[], str] = lambda: "starting"
        self._pipe, self._headline = pipe, ""
        self.interval_s = BEAT_S if pipe >= 0 else notify.watchdog_interval_s()

    @property
    def who(self) -> str:
        """Who ends and starts a daemon that hangs."""
        if self._pipe >= 0:
            return "supervisor"
        return "systemd" if self.interval_s is not None else "nobody"

    def tell(self, *words: str) -> bool:
        """Whether somebody took it. Never waits: a supervisor that is stopped stops nobody."""
        if self._pipe < 0:
            return notify.send("\n".join(words))
        try:
            os.write(self._pipe, "".join(f"{word}\n" for word in words).encode())
        except OSError:
            return False
        return True

    def hold(self, descriptor: int, number: int) -> None:
        """Which descriptor of ours (-1: none) holds the netfilter queue ``number``: a supervisor
        that ends us takes it over, so that what waits there goes on."""
        if self._pipe >= 0:
            self.tell(f"{HOLD}{descriptor},{number}")

    def extend(self, limit_s: float) -> None:
        """Announce a step during which there may be no sign for so long."""
        self.tell(f"{EXTEND}{round(limit_s * 1e6)}")

    async def keep(self) -> None:
        """Give the life sign, until cancelled.

        From the loop and not from a thread: a thread would go on while the loop is dead.
        So nothing may keep the loop for longer than the limit; what takes long works in
        threads and slices. With 100,000 hosts loaded, or all of them changed, the loop's
        thread works 0.14 s in one piece; ``longest_s`` tells what that was on this machine.
        """
        import asyncio  # the supervisor, which needs our words only, does without

        pause_s = BEAT_S if self.interval_s is None else min(self.interval_s, BEAT_S)
        if self.who == "systemd":  # a predecessor of this very process had a longer one at its end
            self.tell(f"{WATCHDOG}{os.environ['WATCHDOG_USEC']}")
        while True:
            if self.interval_s is not None:
                self.tell(BEAT)
            if (headline := self.headline()) != self._headline:
                self._headline = headline
                self.tell(f"STATUS={headline}")
            slept_s = monotonic()
            await asyncio.sleep(pause_s)
            self.longest_s = max(self.longest_s, monotonic() - slept_s)
