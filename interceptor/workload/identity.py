"""The identity of this VM: key and certificate, kept, replaced in time, told to who needs them.

What is in force stays so until something better is there: an authority that is away, refuses or
answers rubbish costs nothing before the certificate's end, and then only what cannot be helped.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interceptor.config import Config
from interceptor.host import wait
from interceptor.host.backoff import Backoff
from interceptor.host.endure import PASSING, endure
from interceptor.mesh.identity import SpiffeId
from interceptor.workload import alarm, certificate, credential, foreign, safe, signing
from interceptor.workload.alarm import Outlook
from interceptor.workload.certificate import Certificate, CertificateError
from interceptor.workload.credential import SKEW_S, Credential
from interceptor.workload.provider import Provider
from interceptor.workload.surrounding import Change, Surrounding

if TYPE_CHECKING:
    from interceptor.host.admission import Pair
    from interceptor.workload.applicant import Applicant

log = logging.getLogger(__name__)

NAP_S = 30.0
"""The longest sleep: it is by a clock that never jumps, certificates are dated by one that does."""
FIRST_S, LONGEST_S = 1.0, 60.0  # between attempts
SPREAD_S = 10.0  # members whose roots are changed at once do not ask at once


@dataclass(frozen=True, slots=True)
class Chance:
    """What is drawn and read; of tests their own."""

    clock: Callable[[], float] = certificate.now_s
    draw: Callable[[], float] = random.random


class Identity:
    """Open it, close it; ``on_change`` hears of each credential, in the event loop.

    ``current`` is the one in force, None where there is none yet; ``why`` tells what the last
    attempt failed of ("" where it did not). ``renewals`` and ``failures`` count.
    """

    def __init__(
        self,
        config: Config,
        by: Provider,
        on_change: Callable[[Credential], None],
        chance: Chance | None = None,
    ) -> None:
        self._config, self.provider, self._on_change = config, by, on_change
        self._chance = chance or Chance()
        node = config.node
        trust = config.identity.trust_domain
        self.who = SpiffeId(trust, node.namespace, node.service_account).uri
        self.current: Credential | None = None
        self.renewal_s = 0.0
        self.renewals = self.failures = 0
        self.why = ""
        self._surrounding = Surrounding(config)
        self._bell = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Take what is on the disk, and go on from there. Does not wait for any authority."""
        await self._surrounding.look()
        if self.provider in (Provider.ISTIOD, Provider.LOCAL):
            await self._recall()
            self._start("identity", self._keep)
        elif self.provider is Provider.SOCKET:
            self._start("the other SDS", self._follow_foreign)
        if self.provider is not Provider.NONE or self._config.mesh.source == "istiod":
            self._start("the identity's files", self._follow_files)

    def _start(self, what: str, work: Callable[[], Awaitable[None]]) -> None:
        self._tasks.append(asyncio.create_task(endure(what, work)))

    async def close(self) -> None:
        """What is in force stays on the disk."""
        if self._tasks:
            await wait.cancelled(self._tasks)
        self._tasks.clear()
        await self._surrounding.close()

    def renew(self) -> None:
        """Have another certificate now."""
        self.renewal_s = 0.0
        self._bell.set()

    def pair(self) -> Pair | None:
        """To be shown as a client, where it is valid now; as `host.controlplane` wants it."""
        from interceptor.host.admission import Pair

        current = self.current
        if current is None or not current.is_valid(self._chance.clock()):
            return None
        return Pair(current.chain_pem, current.key_pem, current.root_pem)

    # --- by an authority

    async def _recall(self) -> None:
        """Start from the disk, whether the authority is there or not."""
        kept = await asyncio.to_thread(safe.load, self._config.identity.dir)
        if kept is None:
            return
        if kept.who != self.who:
            log.warning(
                "the certificate on the disk is %s's, this VM is %s now", kept.who, self.who
            )
            return
        self._adopt(kept)
        log.info("identity from the disk: %s until %s", kept.who, certificate.date(kept.not_after))
        if self.provider is Provider.ISTIOD and await asyncio.to_thread(self._is_strange, kept):
            path = self._config.mesh.istiod.root_cert
            log.warning(
                "the certificate on the disk is of no authority of %s: another is due", path
            )
            self.renewal_s = 0.0

    def _is_strange(self, kept: Credential) -> bool:
        """Whether the authority is another now: the control plane would refuse what we show, and
        the token that could replace it ends sooner."""
        try:
            roots = certificate.read(self._config.mesh.istiod.root_cert.read_bytes())
        except (OSError, CertificateError):
            return False
        known = {each.fingerprint for each in roots}
        return known.isdisjoint(each.fingerprint for each in kept.roots)

    async def _keep(self) -> None:
        """Another certificate in time, for ever."""
        applicant, backoff = self._open_applicant(), Backoff(FIRST_S, LONGEST_S)
        while True:
            self._bell.clear()
            if (left_s := self._due_s()) > 0:
                await self._nap(min(left_s, NAP_S))
                continue
            try:
                await self._replace(applicant)
            except PASSING as error:
                self._fail(str(error) or type(error).__name__)
                await self._nap(backoff.next_s())
            else:
                backoff.reset()

    def _open_applicant(self) -> Applicant:
        """gRPC is imported here."""
        from interceptor.workload.applicant import Local, Remote

        if self.provider is Provider.LOCAL:
            return Local(self._config)
        return Remote(self._config, self._chance.clock)

    def _due_s(self) -> float:
        """Until another is due, by this host's clock. Where that is behind the certificate's
        beginning another would not help: the clock is wrong."""
        if self.current is None:
            return 0.0
        now_s = self._chance.clock()
        if self.renewal_s and now_s < self.current.not_before_s - SKEW_S:
            return NAP_S
        return self.renewal_s - now_s

    async def _nap(self, seconds: float) -> None:
        """Shorter where something has changed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._bell.wait()

    async def _replace(self, applicant: Applicant) -> None:
        """A new key, a certificate for it, and everybody told. Raises one of `PASSING`."""
        identity, clock = self._config.identity, self._chance.clock
        key = await asyncio.to_thread(signing.make_key, identity.key)
        csr = await asyncio.to_thread(signing.build_csr, key, self.who)
        answer = await applicant.ask(csr, self.pair())
        made = await asyncio.to_thread(credential.decide, key, answer, self.who, clock())
        before, self.why = self.current, ""
        self._adopt(made)
        self.renewals += 1
        ends, issuer = certificate.date(made.not_after), made.issuer
        log.info("a certificate for %s by %s until %s", made.who, issuer, ends)
        if before is not None and before.root_pem != made.root_pem:
            roots = ", ".join(f"{each.subject} {each.fingerprint[:16]}" for each in made.roots)
            log.warning("the trusted roots have changed: %s", roots)
        await self._surrounding.keep(made, is_ours=True)
        self._sound()

    def _adopt(self, made: Credential) -> None:
        self.current = made
        draw = self._chance.draw()
        self.renewal_s = made.choose_renewal(self._config.identity.renew_at, draw)
        self._sound()
        self._on_change(made)

    def _fail(self, why: str) -> None:
        if why != self.why:
            log.warning("no certificate for this VM: %s", why)
        self.why = why
        self.failures += 1
        self._sound()

    # --- by somebody else

    async def _follow_foreign(self) -> None:
        backoff = Backoff(FIRST_S, LONGEST_S)
        while True:
            try:
                async for made in foreign.follow(self._config.identity.socket, self._chance.clock):
                    self.why = ""
                    backoff.reset()
                    self._adopt(made)
                    self.renewals += 1
                    await self._surrounding.keep(made, is_ours=False)
            except PASSING as error:
                self._fail(f"{self._config.identity.socket}: {error}")
            await self._nap(backoff.next_s())

    async def _follow_files(self) -> None:
        """Token and root certificate are somebody else's to change."""
        async for change in self._surrounding.follow():
            self._sound()
            if change is Change.ROOT and self.current is not None:
                soon_s = self._chance.clock() + self._chance.draw() * SPREAD_S
                self.renewal_s = min(self.renewal_s, soon_s)
            if change is not Change.NONE:
                self._bell.set()

    def _outlook(self) -> Outlook:
        return self._surrounding.outlook(self.current, self.renewal_s, self.why)

    def _sound(self) -> None:
        """Each alarm is told once."""
        self._surrounding.sound(self.alarms())

    def alarms(self) -> tuple[str, ...]:
        """What somebody should look at, a sentence each."""
        if self.provider is Provider.NONE and self._config.mesh.source != "istiod":
            return ()
        found = alarm.decide(self._outlook(), self._config.identity.alarm_s, self._chance.clock())
        return (*found, *self._surrounding.troubles)

    def remaining_s(self) -> Mapping[str, float]:
        """Until the certificate and the first of the roots end, by the names of their secrets;
        negative where they have. Empty where there are none."""
        if self.current is None:
            return {}
        now_s, roots = self._chance.clock(), [each.not_after_s for each in self.current.roots]
        return {"default": self.current.not_after - now_s, "ROOTCA": min(roots) - now_s}

    def status(self) -> dict[str, object]:
        """For `status`; nothing where this VM has no identity."""
        if self.provider is Provider.NONE:
            return {"alarms": list(self.alarms())} if self.alarms() else {}
        tree: dict[str, object] = {"provider": self.provider.value, "who": self.who}
        if (current := self.current) is not None:
            tree |= {
                "who": current.who,
                "issuer": current.issuer,
                "fingerprint": current.fingerprint,
                "not_before": certificate.date(current.not_before_s),
                "not_after": certificate.date(current.not_after),
                "remaining_s": round(self.remaining_s()["default"]),
                "next_renewal": certificate.date(self.renewal_s),
                "roots": [
                    {
                        "fingerprint": each.fingerprint,
                        "not_after": certificate.date(each.not_after_s),
                    }
                    for each in current.roots
                ],
            }
        return tree | {
            "renewals": self.renewals,
            "failures": self.failures,
            "last_error": self.why,
            "token_not_after": self._surrounding.token_ends,
            "alarms": list(self.alarms()),
        }


def _root(each: Certificate) -> dict[str, str]:
    return {
        "subject": each.subject,
        "fingerprint": each.fingerprint,
        "not_after": certificate.date(each.not_after_s),
    }
