"""Connections through Envoy: our back ends, Istio's rules, and Envoy addressed directly.

Every variant has an Envoy of the same static configuration, so that what
differs is the capture alone. Connections to destinations of nobody's are
measured beside it, with one captured CIDR and with ten thousand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv4Network

from interceptor.host import probe
from interceptor.lab import agent, description
from interceptor.lab.bench import envoy, istio_rules, load, member, meter
from interceptor.lab.bench.envoy import Place, Served
from interceptor.lab.bench.meter import Figures, Rounds, Row, Variant, at_least, at_most
from interceptor.lab.bench.part import BACKENDS, Chart, Part, Session
from interceptor.lab.description import Host, World
from interceptor.lab.removal import wait_until
from interceptor.lab.world import Lab

VIP, SERVER = "10.96.0.11", "10.77.0.9"
HTTP = Served("http", (VIP, 80), ("127.0.0.1", 15101), (SERVER, 8000))
BULK = Served("bulk", (VIP, 5001), ("127.0.0.1", 15102), (SERVER, 8001), is_http=False)
MANY = 10_000
PARALLEL = 4
KEPT = 1000  # requests over each kept connection

FIGURES = {
    "other_p50_us": "µs of connect() to a destination that nobody captures, median",
    "new_cpu_us": "CPU µs of one request over a connection of its own, client, Envoy and server",
    "new_per_s": "such requests a second, four clients",
    "new_p50_us": "µs of one, connect() included, median",
    "keep_cpu_us": f"CPU µs of one of {KEPT} requests over a kept connection",
    "keep_per_s": "such requests a second, four clients",
    "mib_per_s": "MiB a second over one connection through Envoy's tcp_proxy, client to server",
    "mib_cpu_us": "CPU µs for each of these MiB",
}


@dataclass(frozen=True, slots=True)
class Setup:
    """One variant. ``backend`` is one of ours, "istio" or empty for none."""

    name: str
    backend: str = ""
    cidrs: int = 1
    has_envoy: bool = True

    @property
    def host(self) -> str:
        """The lab's host for it."""
        return self.name.replace(" ", "")


def setups(backends: Sequence[str]) -> tuple[Setup, ...]:
    """All of them, with those of our back ends that are wanted."""
    captured = (*backends, "istio")
    return (
        Setup("no agent", has_envoy=False),
        Setup("direct"),
        *(Setup(name, name) for name in captured),
        *(Setup(f"{name}-10k", name, MANY, False) for name in captured),
    )


def world(made: Sequence[Setup]) -> World:
    """A host for each variant, and one that serves."""
    hosts = [
        Host(setup.host, description.pair(10 + number), namespace="bench")
        for number, setup in enumerate(made)
    ]
    svc = Host("svc", description.pair(9))
    return World(description.pair(1), (*hosts, svc), (IPv4Address("10.77.0.53"),))


def build_cidrs(count: int) -> list[str]:
    """The service CIDR, and more that do not touch it until there are ``count``."""
    first = int(IPv4Address("11.0.0.0"))
    others = (str(IPv4Network((first + 512 * n, 24))) for n in range(count - 1))
    return ["10.96.0.0/12", *others]


MESH = f"""
apiVersion: v1
kind: Service
metadata: {{name: server, namespace: bench}}
spec:
  clusterIP: {VIP}
  ports: [{{name: http, port: {HTTP.vip[1]}}}, {{name: tcp, port: {BULK.vip[1]}}}]
"""


def _capture(session: Session, lab: Lab, setup: Setup) -> bool:
    """Install what captures. Returns False where this host has no such back end."""
    host, cidrs = setup.host, build_cidrs(setup.cidrs)
    if setup.backend == "istio":
        lab.run(host, ["iptables-restore", "--noflush"], istio_rules.render_nat(cidrs))
        lab.run(host, ["iptables-restore", "--noflush"], istio_rules.render_raw())
        return True
    if not setup.backend:
        return True
    mesh = lab.host_folder(host) / "mesh"
    mesh.mkdir(mode=0o755)
    (mesh / "server.yaml").write_text(MESH)
    place = envoy.cgroup(lab, host).relative_to(probe.cgroup_mount())
    over = {
        "capture": {"outbound": {"cidrs": cidrs}},
        "agent": {"cgroup": f"/{place}"},
        "sidecar": {"mode": "external"},
    }
    one = agent.prepare(lab, host, over, mesh)
    return member.start(session, one, setup.backend)


def open_variants(session: Session, lab: Lab, made: Sequence[Setup]) -> tuple[Variant, ...]:
    """Bring the variants up, Envoy last: its listeners are seen as they begin to listen."""
    variants = []
    for setup in made:
        session.say(f"bringing up {setup.name}")
        if not _capture(session, lab, setup):
            continue
        if setup.has_envoy:
            envoy.start(lab, setup.host, (HTTP, BULK))
        variants.append(Variant(setup.name, partial(_measure, session, lab, setup)))
    return tuple(variants)


def _measure(session: Session, lab: Lab, setup: Setup) -> Figures:
    """New connections and kept ones through Envoy where there is one, and to nobody's server."""
    count = session.amount.connections

    def use(*words: object) -> dict[str, float]:
        return load.measure(lab, setup.host, session.load, words, ("svc",))

    def where(served: Served) -> Place:
        return served.vip if setup.backend else served.explicit

    figures = {"other_p50_us": use("connect", *HTTP.server, count)["p50_us"]}
    if setup.has_envoy:
        new = use("http", *where(HTTP), count, PARALLEL, 1)
        keep = use("http", *where(HTTP), count * 2, PARALLEL, KEPT)
        bulk = use("stream", *where(BULK), session.amount.mib)
        figures |= {f"new_{key}": new[key] for key in ("cpu_us", "per_s", "p50_us")}
        figures |= {f"keep_{key}": keep[key] for key in ("cpu_us", "per_s")}
        figures |= {"mib_per_s": bulk["per_s"], "mib_cpu_us": bulk["cpu_us"]}
    return figures


def run(session: Session) -> Rounds:
    """The whole comparison, in a lab of its own."""
    made = setups(session.backends)
    with Lab.open(world(made)) as lab:
        for verb, served in (("serve", HTTP), ("sink", BULK)):
            lab.start("svc", [session.load, verb, str(served.server[1])], verb, detached=True)
            wait_until(lambda verb=verb: "ready" in lab.log("svc", verb), f"load {verb}")  # type: ignore[misc]
        variants = open_variants(session, lab, made)
        return meter.alternate(variants, session.amount.rounds, session.say)


def build_rows() -> Sequence[Row]:
    """Design §12, and the same comparisons where it has no target."""
    new, other = "CPU for a new connection", "connect() to nobody's, p50"
    rows = [
        Row(new, "new_cpu_us", "ebpf", "direct", at_most(1.08)),
        Row(new, "new_cpu_us", "ebpf", "istio", at_most(0.92)),
        Row(new, "new_cpu_us", "nftables", "direct", at_most(1.20)),
        Row(new, "new_cpu_us", "nftables", "istio"),
        Row(new, "new_cpu_us", "iptables", "direct"),
        Row(new, "new_cpu_us", "iptables", "istio"),
        Row(new, "new_cpu_us", "istio", "direct"),
    ]
    for ours in (*BACKENDS, "istio"):
        limit = {"ebpf": at_most(1.02), "istio": None}.get(ours, at_most(1.20))
        rows += [
            Row(f"{other}, 1 CIDR", "other_p50_us", ours, "no agent", limit),
            Row(f"{other}, 10,000 CIDRs", "other_p50_us", f"{ours}-10k", "no agent", limit),
        ]
    for ours in (*BACKENDS, "istio"):
        is_ebpf = ours == "ebpf"
        least, most = (at_least(0.97), at_most(1.03)) if is_ebpf else (None, None)
        rows += [
            Row("throughput of a connection", "mib_per_s", ours, "direct", least),
            Row("CPU per MiB of a connection", "mib_cpu_us", ours, "direct", most),
            Row("CPU per request, kept connection", "keep_cpu_us", ours, "direct"),
            Row("new connections a second", "new_per_s", ours, "direct"),
        ]
    return rows


ABOUT = """\
Each variant is a host of its own with an Envoy (one worker) of the same static configuration; the
server stands on another host. `direct` addresses Envoy on a loopback port, nothing captures;
`istio` has the rules that Istio's agent installs on a VM. `-10k`: ten thousand captured CIDRs
instead of one. CPU time is that of client, Envoy, agent and server together.
"""

PARTS = (
    Part(
        "connection",
        "Connections",
        ABOUT,
        run,
        tuple(build_rows()),
        FIGURES,
        (
            Chart("CPU for a new connection through Envoy", "new_cpu_us", "µs"),
            Chart("connect() to a destination of nobody's, p50", "other_p50_us", "µs"),
            Chart("CPU per MiB of a connection through Envoy", "mib_cpu_us", "µs"),
            Chart("CPU per request over a kept connection", "keep_cpu_us", "µs"),
        ),
    ),
)
