"""The managed sidecar as one thing: where its configuration comes from, and its process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from interceptor.config import Config
from interceptor.errors import InterceptorError
from interceptor.mesh.table import Difference, MeshTable
from interceptor.sidecar import binary, bootstrap, folder, launch
from interceptor.sidecar.admin import Admin
from interceptor.sidecar.composed import Composed
from interceptor.sidecar.process import Sidecar, State
from interceptor.sidecar.served import Status
from interceptor.sidecar.setting import Settings, access_log_path

if TYPE_CHECKING:
    from interceptor.sidecar.relay import Dial

log = logging.getLogger(__name__)

LIVE_S = 30.0  # a start on a small VM, with a large mesh
RELAYED_LIVE_S = 10.0  # somebody else's control plane may be away: names are answered all the same


class Feed(Protocol):
    """Where Envoy's configuration comes from."""

    async def open(self) -> None: ...
    async def close(self) -> None: ...
    async def follow(self, difference: Difference) -> None: ...
    def status(self) -> Status: ...
    @property
    def conflicts(self) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Belonging:
    """How this Envoy belongs to a mesh. ``sds``: the socket that it gets certificates from, None
    where it has none. ``dial``: the way to the control plane that configures it; None: we do."""

    node: bootstrap.Node
    sds: Path | None = None
    dial: Dial | None = None


class Managed:
    """Open it with a table, follow the differences, close it. One event loop.

    ``join``: words in front of Envoy's command that put it in a cgroup.
    """

    def __init__(
        self,
        config: Config,
        settings: Settings,
        belonging: Belonging,
        on_state: Callable[[State], None],
        join: tuple[str, ...] = (),
    ) -> None:
        self._files = launch.files(config.agent.run_dir)
        self.feed = _feed(config, settings, belonging)
        self._is_ours = belonging.dial is None
        is_open = config.sidecar.admin == "loopback"
        self.admin = Admin(config.sidecar.admin_port if is_open else self._files.admin)
        place = bootstrap.Place(
            node=belonging.node,
            socket=str(self._files.socket),
            ipv6=settings.ipv6,
            admin="" if is_open else str(self._files.admin),
            sds=str(belonging.sds or ""),
            is_relayed=belonging.dial is not None,
        )
        program = binary.find(config.sidecar.binary)
        text = bootstrap.build(config, place)
        self._wanted = launch.build(config, program, binary.stamp(program), text, join)
        log_path = access_log_path(config)
        self._log_path = log_path
        self.process = Sidecar(self._wanted, self._files, self.admin, on_state, log_path)

    async def open(self, table: MeshTable) -> None:
        """Serve the table and have Envoy live. Raises InterceptorError when it is not in time;
        where another control plane configures it, that is none of our faults: it is waited for a
        little, and the daemon goes on."""
        folder.prepare(self._wanted, self._files, self._log_path)
        await self.feed.follow(Difference(tuple(table.hosts.values()), peers=table.peers or None))
        await self.feed.open()
        await self.process.start()
        if await self.process.wait_live(LIVE_S if self._is_ours else RELAYED_LIVE_S):
            return
        last = folder.tail(self._files.log) or "it logged nothing"
        if self._is_ours:
            raise InterceptorError(
                f"envoy is not live after {LIVE_S:g} s; the end of {self._files.log}: {last}"
            )
        uplink = self.feed.status().uplink
        why = uplink.last_error if uplink is not None and not uplink.is_up else last
        log.warning("envoy has no configuration yet: %s", why)

    async def follow(self, difference: Difference) -> None:
        """Bring Envoy's configuration up to date with the table."""
        await self.feed.follow(difference)

    @property
    def conflicts(self) -> list[str]:
        """Hosts that lost an address and port to another, a sentence each."""
        return self.feed.conflicts

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
        await self.feed.close()


def _feed(config: Config, settings: Settings, belonging: Belonging) -> Feed:
    socket, group = launch.files(config.agent.run_dir).socket, config.sidecar.gid
    if belonging.dial is None:
        return Composed(socket, group, settings)
    from interceptor.sidecar.relay import Relay  # gRPC costs 60 ms and 15 MB

    return Relay(socket, belonging.dial, group)
