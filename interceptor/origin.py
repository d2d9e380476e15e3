"""Where the mesh table comes from: by the configuration, once for a command or for ever."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interceptor import affiliation
from interceptor.config import Config
from interceptor.errors import InterceptorError
from interceptor.mesh.table import MeshTable
from interceptor.source import files, nametable, watch
from interceptor.source.event import Event
from interceptor.source.istiod import SOURCE, Upstream
from interceptor.source.store import NAME, Store

if TYPE_CHECKING:
    from interceptor.host.controlplane import Target
    from interceptor.source.dialogue import Node

ASK_S = 10.0  # for a command that waits for a name table
REGISTERING = ("AUTO_REGISTER_GROUP", "WORKLOAD_ENTRY")
"""Node metadata by which a stream's end takes a registration away."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Origin:
    """``events`` is read from now on, whoever waits for it. ``upstream``: the control plane,
    where there is one."""

    events: AsyncIterator[Event]
    upstream: Upstream | None = None


def open_source(config: Config) -> Origin:
    """The stream of mesh tables of the configured source. With a running loop."""
    if config.mesh.source == "files":
        return Origin(watch.begin(files.watch(config.mesh, config.node)))
    if config.mesh.source == "nametable":
        return Origin(watch.begin(nametable.watch(config.mesh)))
    upstream = _follow(config)
    return Origin(watch.begin(upstream.events()), upstream)


def load_table(config: Config) -> MeshTable:
    """The mesh table of the configured source, now. Raises ConfigError with every problem.

    istiod's is the one that a daemon of this host wrote down last; where none did, istiod is
    asked, once. Which it is goes to the log. Raises InterceptorError where there is neither.
    """
    if config.mesh.source == "files":
        return files.load(config.mesh, config.node)
    if config.mesh.source == "nametable":
        return nametable.load(config.mesh)
    return _recall(config) or _ask(config)


def _follow(config: Config) -> Upstream:
    def target() -> Target:
        from interceptor.host.controlplane import Target

        return Target.choose(config, pair=upstream.pair)

    upstream = Upstream(config.mesh, target, lambda: node(config))
    return upstream


def node(config: Config) -> Node:
    """Who this VM is to istiod. Blocks while names are looked up."""
    from interceptor.source.dialogue import Node

    found = affiliation.observe_member(config)
    place = found.locality
    locality = (place.region, place.zone, place.sub_zone)
    return Node(found.id, found.cluster, locality, found.metadata)


def _recall(config: Config) -> MeshTable | None:
    from interceptor.source import belief

    path = config.mesh.state_dir / NAME
    store = Store(path, SOURCE)
    try:
        table, age_s = belief.recall(store), store.age_s((belief.DOCUMENT,))
    finally:
        store.close()
    if not table.hosts:
        return None
    _log.warning("the control plane's last name table, %.0f s old, from %s", age_s, path)
    return table


def _ask(config: Config) -> MeshTable:
    from dataclasses import replace

    from interceptor.host.controlplane import Target
    from interceptor.source import line, nds

    found = node(config)
    metadata = {key: value for key, value in found.metadata.items() if key not in REGISTERING}
    target = Target.choose(config)

    async def ask() -> bytes:
        for left in reversed(range(len(config.mesh.istiod.addresses))):
            try:
                asker = replace(found, metadata=metadata)
                return await line.ask(target, asker, config.mesh.istiod.protocol, ASK_S)
            except InterceptorError as error:
                if not left:
                    raise InterceptorError(
                        f"no name table from the control plane: {error}"
                    ) from error
        raise AssertionError("there is an address")

    try:
        table = nds.Register().parse(asyncio.run(ask()))
    except nds.NoNameTable as error:
        raise InterceptorError(f"the control plane at {target.address}: {error}") from error
    _log.warning("the name table of the control plane at %s, asked now", target.address)
    return table
