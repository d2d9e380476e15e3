"""The Envoy of the connection benchmarks: one static configuration for every variant."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from interceptor.lab import removal
from interceptor.lab.bench import istio_rules
from interceptor.lab.removal import wait_until
from interceptor.lab.world import Lab
from interceptor.sidecar import binary

Place = tuple[str, int]
OWNER = istio_rules.OWNER
CGROUP = "interceptor"
"""Below the host's own: where the ebpf back end looks for the sidecar."""

FILTERS = "type.googleapis.com/envoy.extensions.filters"
ORIGINAL_DST = f"{FILTERS}.listener.original_dst.v3.OriginalDst"
MANAGER = f"{FILTERS}.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = f"{FILTERS}.http.router.v3.Router"
TCP_PROXY = f"{FILTERS}.network.tcp_proxy.v3.TcpProxy"


@dataclass(frozen=True, slots=True)
class Served:
    """One service: called by ``vip``, or by ``explicit`` where nothing captures."""

    name: str
    vip: Place
    explicit: Place
    server: Place
    is_http: bool = True


def build_bootstrap(services: Sequence[Served]) -> dict[str, object]:
    """Envoy's whole configuration: each service, reached in two ways."""
    outbound = {
        "name": "outbound",
        "address": _address(("127.0.0.1", 15001)),
        "use_original_dst": True,
        "listener_filters": [_typed(ORIGINAL_DST, "original_dst")],
        "filter_chains": [
            {"filters": [_typed(TCP_PROXY, "none", stat_prefix="n", cluster="none")]}
        ],
    }
    listeners = [outbound]
    for one in services:
        chains = [{"filters": [_filter(one)]}]
        listeners += [
            {
                "name": f"{one.name}-vip",
                "address": _address(one.vip),
                "bind_to_port": False,
                "filter_chains": chains,
            },
            {
                "name": f"{one.name}-explicit",
                "address": _address(one.explicit),
                "filter_chains": chains,
            },
        ]
    return {
        "admin": {"address": _address(("127.0.0.1", 15000))},
        "static_resources": {
            "listeners": listeners,
            "clusters": [_cluster("none"), *(_cluster(one.name, one.server) for one in services)],
        },
    }


def _address(place: Place) -> dict[str, object]:
    return {"socket_address": {"address": place[0], "port_value": place[1]}}


def _typed(kind: str, name: str, **fields: object) -> dict[str, object]:
    return {"name": name, "typed_config": {"@type": kind, **fields}}


def _filter(one: Served) -> dict[str, object]:
    if not one.is_http:
        return _typed(TCP_PROXY, "tcp", stat_prefix=one.name, cluster=one.name)
    route = {"match": {"prefix": "/"}, "route": {"cluster": one.name}}
    host = {"name": "all", "domains": ["*"], "routes": [route]}
    return _typed(
        MANAGER,
        "http",
        stat_prefix=one.name,
        route_config={"virtual_hosts": [host]},
        http_filters=[_typed(ROUTER, "router")],
    )


def _cluster(name: str, *servers: Place) -> dict[str, object]:
    endpoints = [{"endpoint": {"address": _address(server)}} for server in servers]
    return {
        "name": name,
        "type": "STATIC",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
    }


def cgroup(lab: Lab, host: str) -> Path:
    """Envoy's cgroup on a host, made if it is not there."""
    folder = removal.cgroup(lab.token, host) / CGROUP
    folder.mkdir(exist_ok=True)
    return folder


def start(lab: Lab, host: str, services: Sequence[Served]) -> None:
    """Start it as the sidecar's user, in the sidecar's cgroup. Raises LabFailed."""
    file = lab.host_folder(host) / "envoy.json"
    file.write_text(json.dumps(build_bootstrap(services)))
    join = ["sh", "-c", 'echo 0 >"$0" && exec "$@"', str(cgroup(lab, host) / "cgroup.procs")]
    owner = ["setpriv", f"--reuid={OWNER}", f"--regid={OWNER}", "--clear-groups"]
    options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    with binary.open_program(binary.find(), OWNER, OWNER) as (program, fds):
        argv = [*join, *owner, program, "-c", str(file), *options]
        lab.start(host, argv, "envoy", detached=True, pass_fds=fds)
    ready = ["curl", "-sf", "-o", "/dev/null", "http://127.0.0.1:15000/ready"]
    wait_until(lambda: bool(lab.run(host, ready, check=False)), f"Envoy on {host}", 20)
