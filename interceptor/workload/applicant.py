"""How this VM asks for a certificate: an authority that speaks Istio's protocol, istiod or our
own, or the authority whose key is on this host."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from interceptor.config import Config
from interceptor.errors import InterceptorError
from interceptor.host.admission import Pair
from interceptor.host.controlplane import Target
from interceptor.host.rpc import RpcError
from interceptor.workload import authority, issuance, safe
from interceptor.workload.issuance import Order

ANSWER_S = 15.0


class Applicant(Protocol):
    """Asks by a request (PEM) for a chain: the leaf, what is between, the root or roots last."""

    async def ask(self, csr: bytes, pair: Pair | None) -> tuple[bytes, ...]:
        """``pair`` is what we have and is valid. Raises InterceptorError with the reason."""


class Remote:
    """By identity.addresses, or those of mesh.istiod. The token says who we are; where there is
    no good one, or it is refused, the certificate does that we have."""

    def __init__(self, config: Config, clock: Callable[[], float]) -> None:
        addresses = config.identity.addresses or config.mesh.istiod.addresses
        self._token, self._ttl_s = config.mesh.istiod.token, config.identity.ttl_s
        self._clock = clock
        self._shown: Pair | None = None
        # One each: an authority may take our connection and yet give no certificate.
        self._targets = [Target.choose(config, (each,), lambda: self._shown) for each in addresses]
        self._turn = 0

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
        """By the first that gives something, beginning with the one that did last."""
        reasons: list[str] = []
        for _ in self._targets:
            try:
                return await _call_at(self._targets[self._turn], request)
            except InterceptorError as error:
                reasons.append(str(error))
                self._turn = (self._turn + 1) % len(self._targets)
        raise InterceptorError("; ".join(dict.fromkeys(reasons)))


async def _call_at(target: Target, request: bytes) -> bytes:
    connection = await target.open()
    try:
        return await connection.call(issuance.METHOD, request, ANSWER_S)
    except RpcError as error:
        reason = target.explain(error)
        raise InterceptorError(f"the authority gives no certificate: {reason}") from error
    finally:
        await connection.close()


class Local:
    """By the authority whose key is on this host."""

    def __init__(self, config: Config) -> None:
        self._config = config

    async def ask(self, csr: bytes, pair: Pair | None) -> tuple[bytes, ...]:
        sign, ttl_s = authority.sign_for_self, self._config.identity.ttl_s
        return await asyncio.to_thread(sign, self._config, csr, ttl_s)
