"""The authority of this host at work, while the daemon runs: authority.listen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from interceptor.config import Config
from interceptor.host import probe, wait
from interceptor.host.endure import PASSING
from interceptor.mesh.model import Address

if TYPE_CHECKING:
    from interceptor.workload.issuer import Issuer

log = structlog.get_logger(__name__)
AGAIN_S = 5.0  # an address that comes with a link, an authority that is made meanwhile


def own_addresses() -> tuple[Address, ...]:
    """Those by which members may call."""
    found = (address for addresses in probe.addresses().values() for address in addresses)
    return tuple(address for address in found if not address.is_link_local)


class Issuing:
    """Nothing, and nothing imported, where authority.listen is empty."""

    def __init__(
        self, config: Config, observe: Callable[[], tuple[Address, ...]] = own_addresses
    ) -> None:
        self._config, self._observe = config, observe
        self._issuer: Issuer | None = None
        self._opening: asyncio.Task[None] | None = None
        self._problem = ""

    async def open(self) -> None:
        """Begin to serve; tried again where it cannot."""
        if self._config.authority.listen and not await self._try():
            self._opening = asyncio.create_task(self._keep_trying(), name="authority")

    async def close(self) -> None:
        if self._opening is not None:
            await wait.cancelled([self._opening])
        if self._issuer is not None:
            await self._issuer.close()
            self._issuer = None

    def status(self) -> dict[str, object]:
        """For `status`; empty where this host is no authority."""
        if self._issuer is not None:
            return self._issuer.status()
        listen = self._config.authority.listen
        return {"listen": listen, "problem": self._problem} if listen else {}

    async def _keep_trying(self) -> None:
        while True:
            await asyncio.sleep(AGAIN_S)
            if await self._try():
                return

    async def _try(self) -> bool:
        from interceptor.workload.issuer import Issuer

        try:
            addresses = await asyncio.to_thread(self._observe)
            issuer = await asyncio.to_thread(Issuer, self._config, addresses)
            await issuer.open()
        except PASSING as error:
            if str(error) != self._problem:
                log.error("the authority does not listen", why=str(error))
            self._problem = str(error)
            return False
        self._issuer, self._problem = issuer, ""
        log.info("the authority listens", at=self._config.authority.listen)
        return True
