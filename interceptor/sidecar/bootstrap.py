"""Envoy's bootstrap: what it must know before it can ask us for the rest.

The admin interface, by which Envoy can be read out and ended, is a Unix socket
of root's: loopback is not a permission. Its port (15000) tells every local user
what the other two tell everybody: readiness (15021) and Prometheus (15090)
listen on every address, as Istio's do, because load balancers and scrapers ask
from elsewhere.

Where the resources are istiod's, it finds here what they take for granted of the bootstrap of
Istio's own agent, under the same names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from interceptor.config import Config
from interceptor.sidecar import fixture
from interceptor.sidecar.fixture import EXTENSIONS, JSON

SOCKET_MODE = 0o660
"""Of the admin socket, in a folder of the sidecar's user and root's group, closed to others."""

# Names of services hold dots, so each ends in `;` where it is part of a
# statistic: these tags take it out again, under the names Istio uses.
_STAT_TAGS = {
    "cluster_name": r"^cluster\.((.+?);\.)",
    "tcp_prefix": r"^tcp\.((.+?);\.)",
    "http_conn_manager_prefix": r"^http\.((.+?);\.)",
    "listener_address": r"^listener\.(((?:[_.[:digit:]]*|[_\[\]aAbBcCdDeEfF[:digit:]]*))\.)",
}
# By Envoy's own rules: an expression of ours would be tried on every statistic, which
# costs four seconds of Envoy's start at 1,000 services.
_OWN_STAT_TAGS = ("envoy.response_code", "envoy.response_code_class")
RE2_PROGRAM_SIZE = 32_768
"""Istio lets routes have longer expressions than Envoy would by itself."""


@dataclass(frozen=True, slots=True)
class Node:
    """Who this Envoy is: xDS's node. ``locality``: region, zone, sub-zone."""

    id: str
    cluster: str
    locality: tuple[str, str, str] = ("", "", "")
    metadata: Mapping[str, JSON] | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where this Envoy runs. ``socket`` is the path of our ADS socket, ``sds`` the one that it
    gets certificates from (empty: it gets none). ``admin`` is the path of Envoy's admin socket;
    empty: its port is open to every local user, as Istio's Envoy has it. ``is_relayed``: the
    resources are istiod's."""

    node: Node
    socket: str
    ipv6: bool = True
    admin: str = ""
    sds: str = ""
    is_relayed: bool = False


def build(config: Config, place: Place) -> str:
    """The bootstrap as JSON text."""
    return json.dumps(_tree(config, place), indent=1, sort_keys=True) + "\n"


def _tree(config: Config, place: Place) -> dict[str, JSON]:
    admin = _admin(config, place)
    tree: dict[str, JSON] = {
        "node": _node(place.node),
        "admin": {"address": admin},
        "dynamic_resources": _dynamic(_form(config, place)),
        "static_resources": {
            "clusters": _clusters(config, place, admin),
            "listeners": fixture.listeners(config, ipv6=place.ipv6, has_port=bool(place.admin)),
        },
        "stats_config": {
            "use_all_default_tags": False,
            "stats_tags": _stat_tags(),
        },
        "overload_manager": _overload(),
    }
    return tree | _istio() if place.is_relayed else tree


def _admin(config: Config, place: Place) -> JSON:
    if not place.admin:
        return fixture.address(fixture.LOCALHOST, config.sidecar.admin_port)
    return {"pipe": {"path": place.admin, "mode": SOCKET_MODE}}


def _clusters(config: Config, place: Place, admin: JSON) -> JSON:
    found = [
        fixture.socket_cluster(fixture.ADS, place.socket),
        fixture.cluster(fixture.ADMIN, admin),
    ]
    if place.sds:
        found.append(fixture.socket_cluster(fixture.SDS, place.sds))
    if place.is_relayed:
        found += fixture.istio_clusters(config)
    return list(found)


def _stat_tags() -> JSON:
    tags: list[JSON] = [{"tag_name": name, "regex": regex} for name, regex in _STAT_TAGS.items()]
    return tags + [{"tag_name": name} for name in _OWN_STAT_TAGS]


def _node(node: Node) -> JSON:
    region, zone, sub_zone = node.locality
    return {
        "id": node.id,
        "cluster": node.cluster,
        "locality": {"region": region, "zone": zone, "sub_zone": sub_zone},
        "metadata": dict(node.metadata or {}),
    }


def _istio() -> dict[str, JSON]:
    """What istiod's resources need beside clusters: inner listeners (HBONE), and expressions of
    any length. The second layer is Envoy's own default, for changes by the admin interface."""
    limits: dict[str, JSON] = {"re2.max_program_size.error_level": RE2_PROGRAM_SIZE}
    inner: JSON = {"@type": f"{EXTENSIONS}.bootstrap.internal_listener.v3.InternalListener"}
    return {
        "layered_runtime": {
            "layers": [
                {"name": "fixed", "static_layer": limits},
                {"name": "admin", "admin_layer": {}},
            ]
        },
        "bootstrap_extensions": [
            {"name": "envoy.bootstrap.internal_listener", "typed_config": inner}
        ],
    }


def _form(config: Config, place: Place) -> str:
    """Our own server has the one form only."""
    is_whole = place.is_relayed and config.mesh.istiod.protocol == "sotw"
    return "GRPC" if is_whole else "DELTA_GRPC"


def _dynamic(form: str) -> JSON:
    """Listeners and clusters by ADS, with no time limit on the first: an Envoy
    that has no configuration yet must not call itself ready."""
    source: JSON = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
    return {
        "ads_config": {
            "api_type": form,
            "transport_api_version": "V3",
            "set_node_on_first_message_only": True,
            "grpc_services": [
                {
                    "envoy_grpc": {
                        "cluster_name": fixture.ADS,
                        # Local and cheap to try: a new daemon is found within a second.
                        "retry_policy": {
                            "retry_back_off": {"base_interval": "0.1s", "max_interval": "1s"}
                        },
                    }
                }
            ],
        },
        "lds_config": source,
        "cds_config": source,
    }


def _overload() -> JSON:
    """Connections are limited by file descriptors only, said outright to spare a warning."""
    return {
        "resource_monitors": [
            {
                "name": "envoy.resource_monitors.global_downstream_max_connections",
                "typed_config": {
                    "@type": f"{EXTENSIONS}.resource_monitors.downstream_connections.v3"
                    ".DownstreamConnectionsConfig",
                    "max_active_downstream_connections": 2_147_483_645,
                },
            }
        ]
    }
