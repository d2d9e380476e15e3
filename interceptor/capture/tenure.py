"""What the daemon holds of the ebpf back end for as long as it lives: maps, lease, listeners."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from interceptor.capture import ground
from interceptor.capture.ebpfstep import Sites
from interceptor.capture.journal import Journal
from interceptor.capture.lease import Lease
from interceptor.config import Config
from interceptor.host import bpf, cgroup, listener, pin
from interceptor.host.alias import Aliases
from interceptor.host.bpfmap import BpfMap
from interceptor.host.layout import Map, Way

log = logging.getLogger(__name__)

BEAT_S = 1.0  # the lease is a few of these at least
SWEEP_S = 60.0


class Tenure:
    """Open it before worker and sidecar start, and close it last of all."""

    def __init__(self, config: Config, sites: Sites) -> None:
        self._config = config
        self.sites = sites
        self._maps: dict[Map, BpfMap] = {}

    def open(self, journal: Journal) -> None:
        """Make what is missing of pins, maps and the agent's cgroup. Raises InterceptorError."""
        self._maps = ground.prepare(self.sites, journal)

    def repin(self) -> None:
        """Put back the pins of maps that somebody has removed: whoever starts looks for them.
        Raises OSError."""
        for number, held in self._maps.items():
            path = pin.map_path(self.sites.bpf_dir, number)
            if not path.exists():
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                bpf.pin(held.fd, str(path))

    def wrap(self, argv: Sequence[str]) -> list[str]:
        """A command that joins the agent's cgroup before its program begins."""
        return cgroup.join_argv(self.sites.agent, argv)

    def register(self) -> None:
        """Show the programs who listens already. To be called before a plan is applied: what it
        captured would be refused."""
        sidecar, dns = self._config.sidecar, self._config.dns
        ways = {sidecar.outbound_port: Way.OUTBOUND, sidecar.inbound_port: Way.INBOUND}
        if dns.enabled:
            ways[dns.tcp_port] = Way.DNS
        listener.register(self._maps[Map.LISTENERS], ways)

    async def keep(self) -> None:
        """Renew the lease, and give back what aliases are idle, until cancelled."""
        sweeping = asyncio.create_task(self._sweep())
        try:
            lease = Lease(self._maps)
            pause_s = min(BEAT_S, self._config.agent.lease_s / 4)
            while True:
                lease.beat()
                await asyncio.sleep(pause_s)
        finally:
            sweeping.cancel()

    async def _sweep(self) -> None:
        aliases = Aliases(self._maps[Map.ALIAS4], self._maps[Map.ALIAS6])
        while True:
            await asyncio.sleep(SWEEP_S)
            if count := await asyncio.to_thread(aliases.sweep):
                log.info("%d aliases of destinations that nobody calls were given back", count)

    def close(self, *, keep: bool) -> None:
        """Give the maps back; what is pinned stays. Without ``keep`` the cgroup goes."""
        for each in self._maps.values():
            each.close()
        self._maps = {}
        if not keep:
            ground.dismiss(self.sites.agent)


def choose(config: Config, sites: Sites, names: Sequence[str]) -> Tenure | None:
    """A tenure where ebpf is one of the back ends."""
    return Tenure(config, sites) if "ebpf" in names else None
