"""The managed sidecar as one thing: its configuration server, its resources, its process.

gRPC and Envoy's messages, a fifth of a second and 18 MB, are imported by the first Managed that
is made: a daemon without a managed sidecar does not need them.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from interceptor.config import Config
from interceptor.errors import InterceptorError
from interceptor.mesh.table import Difference, MeshTable
from interceptor.sidecar import binary, bootstrap, folder, launch
from interceptor.sidecar.admin import Admin
from interceptor.sidecar.process import Sidecar, State
from interceptor.sidecar.setting import Settings, access_log_path

if TYPE_CHECKING:
    from interceptor.sidecar.resources import Snapshot

LIVE_S = 30.0  # a start on a small VM, with a large mesh
SETTLED_S = 1.0  # how long a change waits for an Envoy that does not answer
SLICE = 200  # hosts that may be worked out in the loop itself


class Managed:
    """Open it with a table, follow the differences, close it. One event loop.

    ``join``: words in front of Envoy's command that put it in a cgroup.
    """

    def __init__(
        self,
        config: Config,
        settings: Settings,
        on_state: Callable[[State], None],
        join: tuple[str, ...] = (),
    ) -> None:
        from interceptor.sidecar import resources
        from interceptor.sidecar.ads import Server

        self._config = config
        self._files = launch.files(config.agent.run_dir)
        self._snapshot: Snapshot = resources.empty(settings)
        self._update = resources.update
        self.server = Server(self._files.socket, config.sidecar.gid)
        is_open = config.sidecar.admin == "loopback"
        self.admin = Admin(config.sidecar.admin_port if is_open else self._files.admin)
        place = bootstrap.Place(
            name=config.node.name or socket.gethostname().partition(".")[0],
            addresses=settings.own_addresses,
            socket=str(self._files.socket),
            ipv6=settings.ipv6,
            admin="" if is_open else str(self._files.admin),
        )
        program = binary.find(config.sidecar.binary)
        text = bootstrap.build(config, place)
        self._wanted = launch.build(config, program, binary.stamp(program), text, join)
        log_path = access_log_path(config)
        self._log_path = log_path
        self.process = Sidecar(self._wanted, self._files, self.admin, on_state, log_path)

    async def open(self, table: MeshTable) -> None:
        """Serve the table and have Envoy live. Raises InterceptorError when it is not in time."""
        folder.prepare(self._wanted, self._files, self._log_path)
        await self.follow(Difference(tuple(table.hosts.values())))
        await self.server.open()
        await self.process.start()
        if not await self.process.wait_live(LIVE_S):
            last = folder.tail(self._files.log) or "it logged nothing"
            raise InterceptorError(
                f"envoy is not live after {LIVE_S:g} s; the end of {self._files.log}: {last}"
            )

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

    async def reopen_logs(self) -> None:
        """After a rotation. The new file is ours to make: Envoy may not, in a folder of root's."""
        folder.make_log(self._log_path, self._wanted.uid, self._wanted.gid)
        await asyncio.to_thread(self.admin.reopen_logs)

    async def close(self, drain_s: float | None) -> None:
        """End Envoy after at most ``drain_s``; None: it goes on, for the next daemon."""
        if drain_s is None:
            await self.process.leave()
        else:
            await self.process.stop(drain_s)
        await self.server.close()
