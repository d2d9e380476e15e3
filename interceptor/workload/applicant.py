"""How this VM asks for a certificate: an authority that speaks Istio's protocol, istiod or our
own, or the authority whose key is on this host."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from interceptor.config import Config
from interceptor.errors import InterceptorError
from interceptor.host.admission import Pair
from interceptor.host.controlplane import Target, Unreachable
from interceptor.host.rpc import RpcError
from interceptor.workload import authority, issuance, safe
from interceptor.workload.issuance import Order

ANSWER_S = 15.0
REFUSALS = ("UNAUTHENTICATED", "PERMISSION_DENIED")


class Applicant(Protocol):
    """Asks by a request (PEM) for a chain: the leaf, what is between, the root or roots last."""

    async def ask(self, csr: bytes, pair: Pair | None) -> tuple[bytes, ...]:
        """``pair`` is what we have and is valid. Raises InterceptorError with the reason."""


class Remote:
    """By identity.addresses, or those of mesh.istiod. The token says who we are; where there is
    no good one, or it is refused, the certificate does that we have."""

    def __init__(self, config: Config, clock: Callable[[], float]) -> None:
        addresses = config.identity.addresses or config.mesh.istiod.addresses
        self._attempts = len(addresses)
        self._token, self._ttl_s = config.mesh.istiod.token, config.identity.ttl_s
        self._clock = clock
        self._shown: Pair | None = None
        self._target = Target.choose(config, addresses, lambda: self._shown)

    async def ask(self, csr: bytes, pair: Pair | None) -> tuple[bytes, ...]:
        request = issuance.encode_request(Order(csr, self._ttl_s, {}))
        shown = [None] if pair is None else [Pair(b"", b"", pair.roots), pair]
        if not await asyncio.to_thread(self._has_token):
            shown.reverse()
        reasons: list[str] = []
        for each in shown:
            self._shown = each
            try:
                return issuance.decode_response(await self._call(request))
            except InterceptorError as error:
                reasons.append(str(error))
        raise InterceptorError("; and ".join(dict.fromkeys(reasons)))

    def _has_token(self) -> bool:
        """One that has not ended, as far as it says itself."""
        try:
            return safe.end_of(safe.read_token(self._token)) > self._clock()
        except OSError:
            return False

    async def _call(self, request: bytes) -> bytes:
        """At the first address that answers."""
        for left in reversed(range(self._attempts)):
            try:
                connection = await self._target.open()
            except Unreachable:
                if not left:
                    raise
                continue
            try:
                return await connection.call(issuance.METHOD, request, ANSWER_S)
            except RpcError as error:
                reason = self._target.explain(error)
                raise InterceptorError(f"the authority gives no certificate: {reason}") from error
            finally:
                await connection.close()
        raise AssertionError("there is no address")


class Local:
    """By the authority whose key is on this host."""

    def __init__(self, config: Config) -> None:
        self._config = config

    async def ask(self, csr: bytes, pair: Pair | None) -> tuple[bytes, ...]:
        sign, ttl_s = authority.sign_for_self, self._config.identity.ttl_s
        return await asyncio.to_thread(sign, self._config, csr, ttl_s)
