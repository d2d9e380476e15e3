"""The clusters and listeners that an Envoy of ours has from its start, whoever configures it. PURE.

The names are Istio's, for its resources, its dashboards and its users' EnvoyFilters go by them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address

from interceptor.config import Config
from interceptor.mesh.model import Address

JSON = dict[str, "JSON"] | list["JSON"] | str | int | float | bool | None

LOCALHOST = IPv4Address("127.0.0.1")
ADS = "xds-grpc"
SDS = "sds-grpc"
ADMIN = "admin"
STATS = "prometheus_stats"
AGENT = "agent"
OWN = (ADS, SDS, ADMIN, STATS, AGENT)
"""Clusters that no service of the mesh is behind."""
READY_PATH = "/healthz/ready"
PROMETHEUS_PATH = "/stats/prometheus"

EXTENSIONS = "type.googleapis.com/envoy.extensions"
_IS_READING: dict[str, JSON] = {
    "name": ":method",
    "string_match": {"safe_regex": {"regex": "GET|HEAD"}},
}


def cluster(name: str, place: JSON) -> dict[str, JSON]:
    """One endpoint, at an address of Envoy's (core.v3.Address)."""
    endpoints: list[JSON] = [{"lb_endpoints": [{"endpoint": {"address": place}}]}]
    return {
        "name": name,
        "alt_stat_name": f"{name};",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": endpoints},
    }


def socket_cluster(name: str, path: str) -> dict[str, JSON]:
    """gRPC at a Unix socket."""
    options: JSON = {
        "@type": f"{EXTENSIONS}.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {
            "http2_protocol_options": {
                # Notices a daemon that hangs, which no closed socket would tell.
                "connection_keepalive": {"interval": "30s", "timeout": "10s"}
            }
        },
    }
    return cluster(name, {"pipe": {"path": path}}) | {
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options
        }
    }


def istio_clusters(config: Config) -> list[dict[str, JSON]]:
    """What routes of istiod and of EnvoyFilters may lead to. Statistics come by the port, which
    gives no more than everybody may read."""
    host, _, port = config.agent.listen.rpartition(":")
    listening: JSON = {
        "socket_address": {"address": host.strip("[]"), "port_value": int(port)},
    }
    return [
        cluster(STATS, address(LOCALHOST, config.sidecar.admin_port)),
        cluster(AGENT, listening),
    ]


def listeners(config: Config, *, ipv6: bool, has_port: bool) -> JSON:
    """What everybody may ask: each path goes to one of the admin interface's. ``has_port``:
    the admin interface itself is elsewhere, so that its port tells what is harmless."""
    sidecar = config.sidecar
    everywhere: list[Address] = [IPv4Address(0), *([IPv6Address(0)] if ipv6 else [])]
    metrics = {PROMETHEUS_PATH: PROMETHEUS_PATH}
    found: list[JSON] = [
        _pages("readiness", sidecar.readiness_port, {READY_PATH: "/ready"}, everywhere),
        _pages("prometheus", sidecar.prometheus_port, metrics, everywhere),
    ]
    if has_port:
        harmless = {"/ready": "/ready", "/stats": "/stats", **metrics}
        found.append(_pages("admin", sidecar.admin_port, harmless, [LOCALHOST]))
    return found


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
    first, *others = (address(each, port) for each in addresses)
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
        "@type": f"{EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": f"{name};",
        "http_protocol_options": {"accept_http_10": True, "default_host_for_http_10": name},
        "route_config": {
            "virtual_hosts": [{"name": name, "domains": ["*"], "routes": routes}],
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{EXTENSIONS}.filters.http.router.v3.Router"},
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


def address(host: Address, port: int) -> JSON:
    """core.v3.Address."""
    return {"socket_address": {"address": str(host), "port_value": port}}
