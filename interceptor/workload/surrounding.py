"""What an identity has around it: the disk, the token, the control plane's root certificate."""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import AsyncIterator
from pathlib import Path

from interceptor.config import Config
from interceptor.host import wait
from interceptor.workload import bearer, certificate, safe
from interceptor.workload.alarm import Outlook
from interceptor.workload.credential import Credential

log = logging.getLogger(__name__)

LOOK_S = 1.0  # how often files are looked at
DISK_S = 30.0  # how long a disk may take
LAST_S = 2.0  # at the end
TICKS = 30  # looks between two at the clock


class Change(enum.Enum):
    """What somebody else has changed."""

    NONE = "nothing, but time has passed"
    TOKEN = "the token"
    ROOT = "the root certificate of the control plane"


class Surrounding:
    """``troubles``: what could not be written, a sentence each. ``token_ends`` is for people."""

    def __init__(self, config: Config) -> None:
        self._identity = config.identity
        self._token, self._root = config.mesh.istiod.token, config.mesh.istiod.root_cert
        self._state = config.mesh.state_dir
        self._claims: bearer.Claims | None = None
        self._told: tuple[str, ...] = ()
        self._failed: dict[str, str] = {}
        self._writing: asyncio.Task[None] | None = None

    @property
    def troubles(self) -> tuple[str, ...]:
        return tuple(self._failed.values())

    @property
    def token_ends(self) -> str:
        ends_s = self._claims.not_after_s if self._claims is not None else None
        return certificate.date(ends_s) if ends_s is not None else ""

    async def look(self) -> None:
        """At the token: keep a copy where it lies in memory, put it back where it was lost."""
        try:
            told = await asyncio.to_thread(
                safe.mirror_token, self._token, self._state, certificate.now_s()
            )
            text = await asyncio.to_thread(safe.read_token, self._token)
        except OSError as error:
            self._failed["token"] = f"the token {self._token} cannot be read or kept: {error}"
            return
        self._failed.pop("token", None)
        if told:
            log.info("token: %s", told)
        try:
            self._claims = bearer.decode(text) if text else None
        except bearer.BearerError as error:
            self._claims = None
            self._failed["token"] = f"the token {self._token} is none: {error}"

    async def follow(self) -> AsyncIterator[Change]:
        """An item for each change of token or root certificate, and one now and then."""
        seen, ticks = (wait.stamp(self._token), wait.stamp(self._root)), 0
        while True:
            await asyncio.sleep(LOOK_S)
            now, ticks = (wait.stamp(self._token), wait.stamp(self._root)), ticks + 1
            if now == seen and ticks < TICKS:
                continue
            await self.look()
            change = Change.NONE if now == seen else Change.TOKEN
            yield Change.ROOT if now[1] != seen[1] else change
            seen, ticks = now, 0

    async def keep(self, made: Credential, *, is_ours: bool) -> None:
        """On the disk, for the next start and for other programs. Where it cannot be written it
        is in force all the same, and nobody waits long for a disk that hangs."""
        if self._writing is not None and not self._writing.done():
            return
        self._writing = asyncio.create_task(self._keep(made, is_ours=is_ours))
        done, _ = await asyncio.wait({self._writing}, timeout=DISK_S)
        if done:
            self._failed.pop("disk", None)
            return self._writing.result()
        self._failed["disk"] = f"the disk takes no certificate within {DISK_S:g} s"

    async def close(self) -> None:
        """What is being written is written to its end, if the disk lets it."""
        if self._writing is not None:
            await asyncio.wait({self._writing}, timeout=LAST_S)

    async def _keep(self, made: Credential, *, is_ours: bool) -> None:
        identity = self._identity
        if is_ours:
            await self._write("dir", identity.dir, made)
        if identity.output_dir is not None:
            await self._write("output_dir", identity.output_dir, made)

    async def _write(self, key: str, folder: Path, made: Credential) -> None:
        write = safe.save if key == "dir" else safe.hand_out
        try:
            await asyncio.to_thread(write, folder, made)
        except OSError as error:
            self._failed[key] = f"identity.{key}: the certificate cannot be written: {error}"
        else:
            self._failed.pop(key, None)

    def outlook(self, current: Credential | None, renewal_s: float, why: str) -> Outlook:
        """With what is known of the token."""
        claims = self._claims
        if claims is None:
            return Outlook(current, renewal_s, why)
        ends_s = float("inf") if claims.not_after_s is None else claims.not_after_s
        return Outlook(current, renewal_s, why, claims.not_before_s or 0.0, ends_s, True)

    def sound(self, alarms: tuple[str, ...]) -> None:
        """Tell those in the log that are new, and when the last is over."""
        for each in alarms:
            if each not in self._told:
                log.error("identity: %s", each)
        if self._told and not alarms:
            log.info("identity: all is well again")
        self._told = alarms
