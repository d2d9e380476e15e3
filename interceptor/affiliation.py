"""How this VM belongs to its mesh: who it is there, and what its Envoy gets from whom."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from interceptor.config import Config
from interceptor.host import uplink
from interceptor.sidecar import launch
from interceptor.sidecar.bootstrap import Node
from interceptor.sidecar.managed import Belonging
from interceptor.workload import member, provider
from interceptor.workload.member import Member
from interceptor.workload.provider import Provider

if TYPE_CHECKING:
    from interceptor.host.admission import Pair
    from interceptor.sidecar.relay import Dial


def observe_member(config: Config) -> Member:
    """Who we are to a control plane, on every stream of ours and of Envoy's.

    By the addresses of the configuration, else by those that the way to the control plane
    starts from. Blocks while names are looked up.
    """
    addresses = config.node.addresses
    if not addresses:
        is_istiod = config.mesh.source == "istiod"
        asked = config.mesh.istiod.addresses if is_istiod else ()
        addresses = uplink.observe([each.rpartition(":")[0] for each in asked])
    return member.build(config, addresses, socket.gethostname().partition(".")[0])


def observe(config: Config, pair: Callable[[], Pair | None]) -> Belonging:
    """What Envoy is started with. ``pair``: the certificate to show to the control plane. Blocks
    as `observe_member` does."""
    found = observe_member(config)
    place = found.locality
    node = Node(found.id, found.cluster, (place.region, place.zone, place.sub_zone), found.metadata)
    sds = sds_socket(config, provider.observe(config))
    return Belonging(node, sds, _way(config, pair) if config.mesh.source == "istiod" else None)


def _way(config: Config, pair: Callable[[], Pair | None]) -> Dial:
    """Envoy's own to the control plane, with its own turn among the addresses."""
    from interceptor.host.controlplane import Target  # gRPC costs 60 ms and 15 MB
    from interceptor.sidecar.way import Way

    return Way(Target.choose(config, pair=pair))


def sds_socket(config: Config, identity: Provider) -> Path | None:
    """Where Envoy gets its certificates, None where it has none."""
    if identity is Provider.NONE:
        return None
    if identity is Provider.SOCKET:
        return config.identity.socket
    return launch.files(config.agent.run_dir).sds
