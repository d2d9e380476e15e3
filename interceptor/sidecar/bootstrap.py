"""Envoy's bootstrap: what it must know before it can ask us for the rest.

The admin interface, by which Envoy can be read out and ended, is a Unix socket
of root's: loopback is not a permission. Its port (15000) tells every local user
what the other two tell everybody: readiness (15021) and Prometheus (15090)
listen on every address, as Istio's do, because load balancers and scrapers ask
from elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from interceptor.config import Config
from interceptor.mesh.model import Address

LOCALHOST = IPv4Address("127.0.0.1")
ADS = "interceptor-ads"
ADMIN = "admin"
READY_PATH = "/healthz/ready"
PROMETHEUS_PATH = "/stats/prometheus"
SOCKET_MODE = 0o660
"""Of the admin socket, in a folder of the sidecar's user and root's group, closed to others."""

JSON = dict[str, "JSON"] | list["JSON"] | str | int | float | bool | None

_EXTENSIONS = "type.googleapis.com/envoy.extensions"
# Names of services hold dots, so each ends in `;` where it is part of a
# statistic: these tags take it out again, under the names Istio uses.
_STAT_TAGS = {
    "cluster_name": r"^cluster\.((.+?);\.)",
    "tcp_prefix": r"^tcp\.((.+?);\.)",
    "http_conn_manager_prefix": r"^http\.((.+?);\.)",
    "listener_address": r"^listener\.(((?:[_.[:digit:]]*|[_\[\]aAbBcCdDeEfF[:digit:]]*))\.)",
}
_IS_READING: dict[str, JSON] = {
    "name": ":method",
    "string_match": {"safe_regex": {"regex": "GET|HEAD"}},
}
# By Envoy's own rules: an expression of ours would be tried on every statistic, which
# costs four seconds of Envoy's start at 1,000 services.
_OWN_STAT_TAGS = ("envoy.response_code", "envoy.response_code_class")


@dataclass(frozen=True, slots=True)
class Place:
    """Where this Envoy runs. ``socket`` is the path of our ADS socket; ``addresses``
    are the VM's own, the first being part of the node's id. ``admin`` is the path of Envoy's
    admin socket; empty: its port is open to every local user, as Istio's Envoy has it."""

    name: str
    addresses: tuple[Address, ...]
    socket: str
    ipv6: bool = True
    admin: str = ""


def build(config: Config, place: Place) -> str:
    """The bootstrap as JSON text."""
    return json.dumps(_tree(config, place), indent=1, sort_keys=True) + "\n"


def node_id(config: Config, place: Place) -> str:
    """``sidecar~<address>~<name>.<namespace>~<namespace>.svc.<domain>``, as istiod reads it."""
    address = str(place.addresses[0]) if place.addresses else "127.0.0.1"
    namespace = config.node.namespace
    return f"sidecar~{address}~{place.name}.{namespace}~{namespace}.svc.{config.node.domain}"


def _tree(config: Config, place: Place) -> JSON:
    admin = _admin(config, place)
    return {
        "node": _node(config, place),
        "admin": {"address": admin},
        "dynamic_resources": _dynamic(),
        "static_resources": {
            "clusters": [_ads_cluster(place.socket), _admin_cluster(admin)],
            "listeners": _listeners(config, place),
        },
        "stats_config": {
            "use_all_default_tags": False,
            "stats_tags": _stat_tags(),
        },
        "overload_manager": _overload(),
    }


def _admin(config: Config, place: Place) -> JSON:
    if not place.admin:
        return _address(LOCALHOST, config.sidecar.admin_port)
    return {"pipe": {"path": place.admin, "mode": SOCKET_MODE}}


def _listeners(config: Config, place: Place) -> JSON:
    """What everybody may ask: each path goes to one of the admin interface's."""
    sidecar = config.sidecar
    everywhere: list[Address] = [IPv4Address(0), *([IPv6Address(0)] if place.ipv6 else [])]
    metrics = {PROMETHEUS_PATH: PROMETHEUS_PATH}
    found: list[JSON] = [
        _pages("readiness", sidecar.readiness_port, {READY_PATH: "/ready"}, everywhere),
        _pages("prometheus", sidecar.prometheus_port, metrics, everywhere),
    ]
    if place.admin:
        harmless = {"/ready": "/ready", "/stats": "/stats", **metrics}
        found.append(_pages("admin", sidecar.admin_port, harmless, [LOCALHOST]))
    return found


def _stat_tags() -> JSON:
    tags: list[JSON] = [{"tag_name": name, "regex": regex} for name, regex in _STAT_TAGS.items()]
    return tags + [{"tag_name": name} for name in _OWN_STAT_TAGS]


def _node(config: Config, place: Place) -> JSON:
    node = config.node
    region, _, rest = node.locality.partition("/")
    zone, _, sub_zone = rest.partition("/")
    application = node.labels.get("app", place.name)
    metadata: dict[str, JSON] = {
        "NAMESPACE": node.namespace,
        "NAME": place.name,
        "WORKLOAD_NAME": place.name,
        "SERVICE_ACCOUNT": node.service_account,
        "INSTANCE_IPS": ",".join(map(str, place.addresses)),
        "INTERCEPTION_MODE": config.capture.inbound.mode.upper(),
        "LABELS": dict(node.labels),
    }
    if node.network:
        metadata["NETWORK"] = node.network
    return {
        "id": node_id(config, place),
        "cluster": f"{application}.{node.namespace}",
        "locality": {"region": region, "zone": zone, "sub_zone": sub_zone},
        "metadata": metadata,
    }


def _dynamic() -> JSON:
    """Listeners and clusters by delta ADS, with no time limit on the first: an Envoy
    that has no configuration yet must not call itself ready."""
    source: JSON = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
    return {
        "ads_config": {
            "api_type": "DELTA_GRPC",
            "transport_api_version": "V3",
            "set_node_on_first_message_only": True,
            "grpc_services": [
                {
                    "envoy_grpc": {
                        "cluster_name": ADS,
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


def _ads_cluster(socket: str) -> JSON:
    options: JSON = {
        "@type": f"{_EXTENSIONS}.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {
            "http2_protocol_options": {
                # Notices a daemon that hangs, which no closed socket would tell.
                "connection_keepalive": {"interval": "30s", "timeout": "10s"}
            }
        },
    }
    return {
        "name": ADS,
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options
        },
        "load_assignment": _one_endpoint(ADS, {"pipe": {"path": socket}}),
    }


def _admin_cluster(address: JSON) -> JSON:
    return {
        "name": ADMIN,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": _one_endpoint(ADMIN, address),
    }


def _pages(name: str, port: int, paths: Mapping[str, str], addresses: Sequence[Address]) -> JSON:
    """A listener that lets ``paths`` be read, each from its path of the admin interface, and
    nothing else."""
    routes: list[JSON] = [
        {
            "match": {"path": path, "headers": [_IS_READING]},
            "route": {"cluster": ADMIN, "prefix_rewrite": admin_path},
        }
        for path, admin_path in paths.items()
    ]
    first, *others = (_address(address, port) for address in addresses)
    return {
        "name": name,
        "address": first,
        "additional_addresses": [{"address": other} for other in others],
        "filter_chains": [_chain(name, routes)],
        # Monitoring must go on where applications have used up every connection.
        "ignore_global_conn_limit": True,
    }


def _chain(name: str, routes: list[JSON]) -> JSON:
    manager: JSON = {
        "@type": f"{_EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": f"{name};",
        "http_protocol_options": {"accept_http_10": True, "default_host_for_http_10": name},
        "route_config": {
            "virtual_hosts": [{"name": name, "domains": ["*"], "routes": routes}],
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{_EXTENSIONS}.filters.http.router.v3.Router"},
            }
        ],
    }
    return {
        "filters": [
            {
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": manager,
            }
        ]
    }


def _overload() -> JSON:
    """Connections are limited by file descriptors only, said outright to spare a warning."""
    return {
        "resource_monitors": [
            {
                "name": "envoy.resource_monitors.global_downstream_max_connections",
                "typed_config": {
                    "@type": f"{_EXTENSIONS}.resource_monitors.downstream_connections.v3"
                    ".DownstreamConnectionsConfig",
                    "max_active_downstream_connections": 2_147_483_645,
                },
            }
        ]
    }


def _one_endpoint(name: str, address: JSON) -> JSON:
    endpoints: list[JSON] = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    return {"cluster_name": name, "endpoints": endpoints}


def _address(host: Address, port: int) -> JSON:
    return {"socket_address": {"address": str(host), "port_value": port}}
