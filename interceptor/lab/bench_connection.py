"""Connections through Envoy: our back ends, Istio's rules, and Envoy addressed directly.

Every variant has an Envoy of the same static configuration, so that what
differs is the capture alone. Connections to destinations of nobody's are
measured beside it, with one captured CIDR and with ten thousand.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from interceptor.lab import agent, description, istio_rules, meter
from interceptor.lab.description import Host, World
from interceptor.lab.meter import Figures, Ratio, Rounds, Variant
from interceptor.lab.removal import wait_until
from interceptor.lab.world import Lab
from interceptor.sidecar import binary

VIP, VIP_PORT = "10.96.0.11", 80
SERVER, SERVER_PORT = "10.77.0.31", 8000
EXPLICIT = ("127.0.0.1", 15101)
MANY = 10_000
PARALLEL = 4
OWNER = istio_rules.OWNER

BACKENDS = ("iptables", "nftables")
RATIOS = (
    *(Ratio("new_cpu_us", ours, "direct", "<= 1.20 (nftables)") for ours in BACKENDS),
    Ratio("new_cpu_us", "istio", "direct"),
    *(Ratio("new_cpu_us", ours, "istio") for ours in BACKENDS),
    *(Ratio("new_per_s", ours, "direct") for ours in BACKENDS),
    *(Ratio("new_per_s", ours, "istio") for ours in BACKENDS),
    *(Ratio("keep_cpu_us", ours, "direct") for ours in (*BACKENDS, "istio")),
    *(Ratio("other_p50_us", ours, "no agent", "<= 1.20") for ours in (*BACKENDS, "istio")),
    *(Ratio("other_p50_us", f"{ours}-10k", "no agent", "<= 1.20") for ours in (*BACKENDS, "istio")),
)


@dataclass(frozen=True, slots=True)
class Setup:
    """One variant. ``backend`` is one of ours, "istio" or empty for none."""

    name: str
    backend: str
    cidrs: int
    has_envoy: bool


SETUPS = (
    Setup("no agent", "", 0, False),
    Setup("direct", "", 0, True),
    Setup("istio", "istio", 1, True),
    *(Setup(backend, backend, 1, True) for backend in BACKENDS),
    *(Setup(f"{name}-10k", name, MANY, False) for name in (*BACKENDS, "istio")),
)


def host_of(setup: Setup) -> str:
    """The lab's host for a variant."""
    return setup.name.replace(" ", "")


def world() -> World:
    """A host for each variant, and one that serves."""
    hosts = [
        Host(host_of(setup), description.pair(10 + number), namespace="bench")
        for number, setup in enumerate(SETUPS)
    ]
    return World(
        description.pair(1),
        (*hosts, Host("svc", description.pair(31))),
        (IPv4Address("10.77.0.53"),),
    )


def build_cidrs(count: int) -> list[str]:
    """The service CIDR, and more that do not touch it until there are ``count``."""
    first = int(IPv4Address("11.0.0.0"))
    others = (str(IPv4Network((first + 512 * n, 24))) for n in range(count - 1))
    return ["10.96.0.0/12", *others]


def build_bootstrap() -> dict[str, object]:
    """Envoy's whole configuration: one service, reached in two ways."""
    return {
        "admin": {"address": _address("127.0.0.1", 15000)},
        "static_resources": {
            "listeners": [
                {
                    "name": "outbound",
                    "address": _address("127.0.0.1", 15001),
                    "use_original_dst": True,
                    "listener_filters": [_typed(ORIGINAL_DST, "original_dst")],
                    "filter_chains": [{"filters": [_http("unknown")]}],
                },
                {
                    "name": "vip",
                    "address": _address(VIP, VIP_PORT),
                    "bind_to_port": False,
                    "filter_chains": [{"filters": [_http("vip")]}],
                },
                {
                    "name": "explicit",
                    "address": _address(*EXPLICIT),
                    "filter_chains": [{"filters": [_http("explicit")]}],
                },
            ],
            "clusters": [_cluster()],
        },
    }


FILTERS = "type.googleapis.com/envoy.extensions.filters"
ORIGINAL_DST = f"{FILTERS}.listener.original_dst.v3.OriginalDst"
MANAGER = f"{FILTERS}.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = f"{FILTERS}.http.router.v3.Router"


def _address(address: str, port: int) -> dict[str, object]:
    return {"socket_address": {"address": address, "port_value": port}}


def _typed(kind: str, name: str, **fields: object) -> dict[str, object]:
    return {"name": name, "typed_config": {"@type": kind, **fields}}


def _http(name: str) -> dict[str, object]:
    route = {"match": {"prefix": "/"}, "route": {"cluster": "server"}}
    host = {"name": "all", "domains": ["*"], "routes": [route]}
    return _typed(
        MANAGER,
        "http",
        stat_prefix=name,
        route_config={"virtual_hosts": [host]},
        http_filters=[_typed(ROUTER, "router")],
    )


def _cluster() -> dict[str, object]:
    endpoint = {"endpoint": {"address": _address(SERVER, SERVER_PORT)}}
    return {
        "name": "server",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "server", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


MESH = f"""
apiVersion: v1
kind: Service
metadata: {{name: server, namespace: bench}}
spec:
  clusterIP: {VIP}
  ports: [{{name: http, port: {VIP_PORT}}}]
"""


def _start_envoy(lab: Lab, host: str, envoy: Path) -> None:
    file = lab.host_folder(host) / "envoy.json"
    file.write_text(json.dumps(build_bootstrap()))
    owner = ["setpriv", f"--reuid={OWNER}", f"--regid={OWNER}", "--clear-groups"]
    options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    with binary.open_program(envoy, OWNER, OWNER) as (program, fds):
        argv = [*owner, program, "-c", str(file), *options]
        lab.start(host, argv, "envoy", detached=True, pass_fds=fds)
    ready = ["curl", "-sf", "-o", "/dev/null", "http://127.0.0.1:15000/ready"]
    wait_until(lambda: bool(lab.run(host, ready, check=False)), f"Envoy on {host}")


def _capture(lab: Lab, setup: Setup) -> None:
    host, cidrs = host_of(setup), build_cidrs(setup.cidrs)
    if setup.backend == "istio":
        lab.run(host, ["iptables-restore", "--noflush"], istio_rules.render_nat(cidrs))
        lab.run(host, ["iptables-restore", "--noflush"], istio_rules.render_raw())
    elif setup.backend:
        mesh = lab.host_folder(host) / "mesh"
        mesh.mkdir(mode=0o755)
        (mesh / "server.yaml").write_text(MESH)
        capture = {"backend": setup.backend, "outbound": {"cidrs": cidrs}}
        over = {"capture": capture, "sidecar": {"mode": "external"}}
        agent.prepare(lab, host, over, mesh).start(timeout_s=60)


def _open_variant(
    lab: Lab, setup: Setup, load: str, count: int, groups: Mapping[str, Path], envoy: Path
) -> Variant:
    """Bring one variant up; its processes are in the group of its own name, or nowhere."""
    host = host_of(setup)
    if setup.has_envoy:
        _start_envoy(lab, host, envoy)
        meter.adopt(groups[setup.name], lab, host)
    _capture(lab, setup)
    return Variant(setup.name, partial(_measure, lab, setup, load, count, groups))


def _measure(lab: Lab, setup: Setup, load: str, count: int, groups: Mapping[str, Path]) -> Figures:
    """New connections and kept ones through Envoy where there is one, and to nobody's server."""

    def use(words: Sequence[object], servers: Sequence[Path]) -> dict[str, float]:
        texts = [str(word) for word in words]
        return meter.measure_load(lab, host_of(setup), load, texts, groups["client"], servers)

    figures = {"other_p50_us": use(("connect", SERVER, SERVER_PORT, count), ())["p50_us"]}
    if setup.has_envoy:
        servers = [groups[setup.name], groups["server"]]
        where = EXPLICIT if setup.name == "direct" else (VIP, VIP_PORT)
        new = use(("http", *where, count, PARALLEL, 1), servers)
        keep = use(("http", *where, count * 2, PARALLEL, 1000), servers)
        figures |= {f"new_{key}": value for key, value in new.items()}
        figures |= {f"keep_{key}": value for key, value in keep.items()}
    return figures


def run(folder: Path, rounds: int, count: int, say: Callable[[str], None]) -> Rounds:
    """The whole comparison, in a lab of its own."""
    load = meter.build_load(folder)
    envoy = binary.find()
    names = ("client", "server", *(setup.name for setup in SETUPS if setup.has_envoy))
    with meter.groups(names) as groups, Lab.open(world()) as lab:
        lab.start("svc", [load, "serve", str(SERVER_PORT)], "serve", detached=True)
        wait_until(lambda: "ready" in lab.log("svc", "serve"), "the server")
        meter.adopt(groups["server"], lab, "svc")
        variants = []
        for setup in SETUPS:
            say(f"bringing up {setup.name}")
            variants.append(_open_variant(lab, setup, load, count, groups, envoy))
        return meter.alternate(variants, rounds, say)
