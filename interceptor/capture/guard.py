"""The installed plan and the host held together: apply, follow, put back.

The only place that calls a back end while the daemon runs. Back ends block, so
each call is made in a thread, one at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections import Counter
from collections.abc import Iterable
from time import monotonic

from interceptor.capture import clean
from interceptor.capture.joined import Joined
from interceptor.capture.plan import Place, Plan, Plane
from interceptor.errors import InterceptorError
from interceptor.host import netlink, wait

log = logging.getLogger(__name__)

LOOK_S = 2.0  # between two looks where nobody tells of changes
UNTOLD_S = 10.0  # the same where most changes are told, and some are not
SETTLE_S = 0.2  # a firewall that reloads makes many changes at once
BACK_OFF_S = (0.0, 0.0, 0.0, 5.0, 30.0)  # before each further repair of a fight; the last stays
CALM_S = 60.0  # without a repair so long, the next is the first again


class Guard:
    """One back end and the plan that is in force."""

    def __init__(self, backend: Joined) -> None:
        self.backend = backend
        self.plan: Plan | None = None
        self.repairs: Counter[str] = Counter()
        self.drift = False
        self._seen: str | None = None
        self._lock = asyncio.Lock()
        self._checking = asyncio.Lock()  # one repair for one fault, whoever noticed it
        self._recent: list[float] = []

    async def install(self, plan: Plan) -> None:
        """Make the host follow ``plan``."""
        async with self._lock:
            await asyncio.to_thread(self.backend.apply, plan)
            self.plan = plan
            await self._remember()

    async def _remember(self) -> None:
        """What the host shows after our own change, where its tools print rules in other
        words than ours; None where they agree, as they mostly do."""
        assert self.plan is not None
        observed = await asyncio.to_thread(self.backend.observe)
        expected = await asyncio.to_thread(self.backend.expected, self.plan)
        self._seen = None if observed == expected else observed

    async def sweep(self) -> None:
        """Remove what other back ends have here, once ours is in: no moment without capture."""
        async with self._lock:
            await asyncio.to_thread(clean.sweep, self.backend.names, self.backend.sites.bpf_dir)

    async def update(self, places: Iterable[Place]) -> None:
        """Exchange the mesh's addresses, in place."""
        every = tuple(places)
        async with self._lock:
            if self.plan is not None and Plane.TCP in self.plan.planes:
                self.plan = self.plan.exchange(every)
                await asyncio.to_thread(self.backend.update, every)
                if self._seen is not None:
                    await self._remember()

    async def release(self) -> None:
        """Capture nothing new; what is open goes on."""
        if self.plan is not None:
            await self.install(self.plan.released())

    async def remove(self) -> None:
        """Take everything off the host."""
        async with self._lock:
            await asyncio.to_thread(self.backend.revert)
            self.plan = None

    async def follow(self) -> None:
        """Put back what others remove, until cancelled. Backs off where somebody insists.

        Legacy iptables tells nobody of changes, so its rules are looked at.
        """
        descriptor = await asyncio.to_thread(self.backend.events)
        if descriptor is None:
            while True:
                await asyncio.sleep(LOOK_S)
                await self.check()
        try:
            await self.check()  # what happened before anybody listened
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._untold_s):
                        await wait.readable(descriptor)
                        await asyncio.sleep(SETTLE_S)
                netlink.drain(descriptor)
                if await self.check():
                    netlink.drain(descriptor)  # our own changes are no news
        finally:
            os.close(descriptor)

    @property
    def _untold_s(self) -> float | None:
        """How often to look although nothing was told: of links of programs nobody tells."""
        return UNTOLD_S if "ebpf" in self.backend.names else None

    async def check(self) -> bool:
        """Look whether everything is in its place, and put it back. Whether it was not."""
        async with self._checking:
            if not await self._differs():
                return False
            await self._repair()
            return True

    async def _differs(self) -> bool:
        async with self._lock:
            if self.plan is None:
                return False
            observed = await asyncio.to_thread(self.backend.observe)
            wanted = self._seen or await asyncio.to_thread(self.backend.expected, self.plan)
            self.drift = observed != wanted
            return self.drift

    async def _repair(self) -> None:
        now = monotonic()
        self._recent = [when for when in self._recent if now - when < CALM_S]
        pause_s = BACK_OFF_S[min(len(self._recent), len(BACK_OFF_S) - 1)]
        self._recent.append(now)
        if pause_s:
            log.warning("our rules are removed again and again; next repair in %g s", pause_s)
            await asyncio.sleep(pause_s)
        async with self._lock:
            if self.plan is None:
                return
            try:
                await asyncio.to_thread(self.backend.apply, self.plan)
                await self._remember()
            except InterceptorError as error:
                log.error("rules could not be put back: %s", error)
                return
        self.drift = False
        self.repairs["rules"] += 1
        log.warning("rules were changed by somebody else and are put back")
