"""Identity of this VM and the secrets of its Envoy, as one thing that a member opens and closes.

With the defaults it is nothing, and nothing is imported for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from interceptor.config import Config
from interceptor.sidecar import folder, launch
from interceptor.workload import provider
from interceptor.workload.identity import Chance, Identity
from interceptor.workload.provider import Provider

if TYPE_CHECKING:
    from interceptor.host.admission import Pair
    from interceptor.sidecar.secrets import Secrets
    from interceptor.workload.credential import Credential


class Proving:
    """Open it before the sidecar, whose bootstrap needs ``sds``; close it after."""

    def __init__(self, config: Config, chance: Chance | None = None) -> None:
        self._config, self._chance = config, chance
        self.identity: Identity | None = None
        self.secrets: Secrets | None = None
        self.sds: Path | None = None
        """The socket that Envoy is to ask; None where this VM has no identity."""

    async def open(self) -> None:
        """Never fails for an authority that is away; raises InterceptorError or OSError where the
        socket cannot be made."""
        config = self._config
        by = await asyncio.to_thread(provider.observe, config)
        if by is Provider.NONE and config.mesh.source != "istiod":
            return
        if by is Provider.SOCKET:
            self.sds = config.identity.socket
        elif by is not Provider.NONE and config.sidecar.mode != "none":
            await self._open_secrets()
        self.identity = Identity(config, by, self._tell, self._chance)
        await self.identity.open()

    async def _open_secrets(self) -> None:
        from interceptor.sidecar.secrets import Secrets

        config = self._config
        files, sidecar = launch.files(config.agent.run_dir), config.sidecar
        await asyncio.to_thread(folder.make, files.folder, sidecar.gid)
        self.sds = files.sds
        self.secrets = Secrets(self.sds, sidecar.uid, sidecar.gid)
        await self.secrets.open()

    def _tell(self, made: Credential) -> None:
        if self.secrets is not None:
            self.secrets.tell(made.key_pem, made.chain_pem, made.root_pem)

    async def close(self) -> None:
        """Envoy keeps what it has been given."""
        if self.identity is not None:
            await self.identity.close()
        if self.secrets is not None:
            await self.secrets.close()

    def pair(self) -> Pair | None:
        """What `controlplane.Target` shows as a client's certificate."""
        return None if self.identity is None else self.identity.pair()

    def alarms(self) -> tuple[str, ...]:
        """What somebody should look at, a sentence each."""
        refused = self.secrets.status().refusals if self.secrets is not None else ()
        words = (f"envoy refuses {', '.join(each.names)}: {each.reason}" for each in refused)
        return (*(self.identity.alarms() if self.identity is not None else ()), *words)

    def status(self) -> dict[str, object]:
        """For `status`; empty where this VM has no identity."""
        if self.identity is None:
            return {}
        tree = self.identity.status()
        if self.secrets is not None:
            told = self.secrets.status()
            tree["secrets"] = {
                "streams": told.streams,
                "sent": told.sent,
                "acked": told.acked,
                "refused": told.refused,
                "missing": list(told.missing),
            }
        return tree | {"alarms": list(self.alarms())} if tree else tree

    def figures(self) -> Mapping[str, Mapping[tuple[str, ...], float]]:
        """Families and their values, as `figure` has them, without the prefix."""
        if self.identity is None or self.identity.provider is Provider.NONE:
            return {}
        made: dict[str, Mapping[tuple[str, ...], float]] = {
            "identity_renewals": {(): float(self.identity.renewals)},
            "identity_failures": {(): float(self.identity.failures)},
            "identity_alarms": {(): float(len(self.alarms()))},
        }
        if remaining := self.identity.remaining_s():
            made["cert_expiry_seconds"] = {(name,): left for name, left in remaining.items()}
        return made
