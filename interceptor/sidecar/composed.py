"""Envoy's configuration as we compose it of the mesh table, and the server that it comes from.

gRPC and Envoy's messages, a fifth of a second and 18 MB, are imported by the first one that is
made: a daemon whose Envoy is configured by somebody else does not need them.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from interceptor.mesh.table import Difference
from interceptor.sidecar.served import Status
from interceptor.sidecar.setting import Settings

if TYPE_CHECKING:
    from interceptor.sidecar.resources import Snapshot

SETTLED_S = 1.0  # how long a change waits for an Envoy that does not answer
SLICE = 200  # hosts that may be worked out in the loop itself


class Composed:
    """Open it with the first table followed, and Envoy is served."""

    def __init__(self, socket: Path, group: int, settings: Settings) -> None:
        from interceptor.sidecar import resources
        from interceptor.sidecar.ads import Server

        self._snapshot: Snapshot = resources.empty(settings)
        self._update = resources.update
        self.server = Server(socket, group)

    async def open(self) -> None:
        """Listen for Envoy."""
        await self.server.open()

    async def close(self) -> None:
        """End Envoy's streams."""
        await self.server.close()

    def status(self) -> Status:
        """What was served so far."""
        return self.server.status()

    async def follow(self, difference: Difference) -> None:
        """Bring Envoy's configuration up to date, and wait until it has taken it: a name that
        is answered before its listener is there would be dialled as a stranger's address.

        A large change is worked out in a thread, at once: each update copies the
        snapshot's dictionaries, so that many slices of a large mesh would cost
        the square of it.
        """
        if len(difference.upserted) + len(difference.removed) > SLICE:
            self._snapshot, change = await asyncio.to_thread(
                self._update, self._snapshot, difference
            )
        else:
            self._snapshot, change = self._update(self._snapshot, difference)
        if change:
            self.server.set(self._snapshot.resources, change)
            if self.server.status().streams:
                await self.server.wait_settled(SETTLED_S)

    @property
    def conflicts(self) -> list[str]:
        """Hosts that lost an address and port to another, a sentence each."""
        return [str(item) for found in self._snapshot.conflicts.values() for item in found]
