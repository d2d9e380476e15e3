"""The DNS plane against dnsmasq and unbound behind REDIRECT, and against no agent at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

import yaml

from interceptor.lab import agent, description, meter
from interceptor.lab.description import Host, World
from interceptor.lab.meter import Ratio, Rounds, Variant
from interceptor.lab.removal import wait_until
from interceptor.lab.world import Lab

NAMES = 1000
PATTERN = "host-%04ld.bench.svc.cluster.local"
PORT = 5353
UPSTREAM = "10.77.0.53"

RATIOS = (
    Ratio("p50_us", "agent", "dnsmasq", "<= 1 (NFQUEUE)"),
    Ratio("p50_us", "agent", "unbound"),
    Ratio("one_per_s", "agent", "dnsmasq", ">= 1 (NFQUEUE)"),
    Ratio("one_per_s", "agent", "unbound"),
    Ratio("many_per_s", "agent", "dnsmasq", ">= 1 (NFQUEUE)"),
    Ratio("many_per_s", "agent", "unbound"),
    Ratio("one_cpu_us", "agent", "dnsmasq"),
    Ratio("one_cpu_us", "agent", "unbound"),
    Ratio("many_cpu_us", "agent", "dnsmasq"),
    Ratio("many_cpu_us", "agent", "unbound"),
    Ratio("other_p50_us", "agent", "no agent", "<= 1.25 (netfilter)"),
)


def world() -> World:
    """A host for each variant, all asking the same upstream."""
    hosts = (
        Host("agent", description.pair(10), namespace="bench"),
        Host("dnsmasq", description.pair(11)),
        Host("unbound", description.pair(12)),
        Host("plain", description.pair(13)),
        Host("dns", description.pair(53), records=description.RECORDS),
    )
    return World(description.pair(1), hosts, (IPv4Address(UPSTREAM),))


def build_services(count: int) -> Iterable[dict[str, object]]:
    """As many Services as there are names, each with one address."""
    for number in range(count):
        yield {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": f"host-{number:04}", "namespace": "bench"},
            "spec": {
                "clusterIP": str(_address(number)),
                "ports": [{"name": "http", "port": 80}],
            },
        }


def _address(number: int) -> IPv4Address:
    return IPv4Address("10.96.0.0") + 256 + number


def render_dnsmasq(count: int) -> str:
    """The same names for dnsmasq, without a cache in front of what it knows."""
    lines = [
        "no-resolv",
        "no-hosts",
        "pid-file=",
        "user=root",
        "keep-in-foreground",
        f"port={PORT}",
        "listen-address=127.0.0.1",
        "bind-interfaces",
        "local-ttl=30",
    ]
    lines += [f"host-record={_name(n)},{_address(n)}" for n in range(count)]
    return "\n".join(lines) + "\n"


def render_unbound(count: int) -> str:
    """The same names for unbound, as a static local zone, with one thread."""
    lines = [
        "server:",
        '  directory: ""',
        '  chroot: ""',
        '  username: ""',
        '  pidfile: ""',
        "  use-syslog: no",
        "  do-daemonize: no",
        "  num-threads: 1",
        f"  interface: 127.0.0.1@{PORT}",
        "  access-control: 0.0.0.0/0 allow",
        '  local-zone: "bench.svc.cluster.local." static',
    ]
    lines += [f'  local-data: "{_name(n)}. 30 IN A {_address(n)}"' for n in range(count)]
    lines += ["remote-control:", "  control-enable: no"]
    return "\n".join(lines) + "\n"


def _name(number: int) -> str:
    return PATTERN % number


def open_variants(
    lab: Lab, load: str, count: int, groups: Mapping[str, Path]
) -> tuple[Variant, ...]:
    """Start every server, and give what to measure."""
    _start_agent(lab)
    _start_redirected(lab, "dnsmasq", render_dnsmasq(NAMES), ("dnsmasq", "--conf-file={}"))
    _start_redirected(lab, "unbound", render_unbound(NAMES), ("unbound", "-d", "-c", "{}"))
    for host in ("agent", "dnsmasq", "unbound"):
        meter.adopt(groups[host], lab, host)
    mesh = partial(_measure_mesh, lab, load, count, groups)
    return (
        Variant("agent", lambda: mesh("agent") | _measure_other(lab, load, count, groups, "agent")),
        Variant("dnsmasq", lambda: mesh("dnsmasq")),
        Variant("unbound", lambda: mesh("unbound")),
        Variant("no agent", lambda: _measure_other(lab, load, count, groups, "plain")),
    )


def _start_agent(lab: Lab) -> None:
    mesh = lab.host_folder("agent") / "mesh"
    mesh.mkdir(mode=0o755)
    documents = yaml.dump_all(build_services(NAMES), Dumper=yaml.CSafeDumper)
    (mesh / "services.yaml").write_text(documents)
    agent.prepare(lab, "agent", {"sidecar": {"mode": "none"}}, mesh).start()


def _start_redirected(lab: Lab, host: str, text: str, argv: Sequence[str]) -> None:
    file = lab.host_folder(host) / f"{host}.conf"
    file.write_text(text)
    lab.start(host, [word.format(file) for word in argv], host, detached=True)
    rule = f"-t nat -A OUTPUT -p udp --dport 53 -j REDIRECT --to-ports {PORT}"
    lab.run(host, ["iptables", *rule.split()])
    ask = ["dig", "+short", "+tries=1", "+timeout=1", f"@{UPSTREAM}", _name(7)]
    wanted = f"{_address(7)}\n"
    wait_until(lambda: lab.run(host, ask, check=False).stdout == wanted, f"{host}'s answer")


def _measure_mesh(
    lab: Lab, load: str, count: int, groups: Mapping[str, Path], host: str
) -> dict[str, float]:
    def ask(total: int, window: int) -> dict[str, float]:
        words = ("dns", UPSTREAM, PATTERN, str(NAMES), str(total), str(window))
        return meter.measure_load(lab, host, load, words, groups["client"], [groups[host]])

    one, many = ask(count, 1), ask(count * 2, 64)
    return {
        "p50_us": one["p50_us"],
        "one_per_s": one["per_s"],
        "one_cpu_us": one["cpu_us"],
        "many_per_s": many["per_s"],
        "many_cpu_us": many["cpu_us"],
    }


def _measure_other(
    lab: Lab, load: str, count: int, groups: Mapping[str, Path], host: str
) -> dict[str, float]:
    words = ("dns", UPSTREAM, "www.corp.example", "1", str(count), "1")
    got = meter.measure_load(lab, host, load, words, groups["client"], ())
    return {"other_p50_us": got["p50_us"], "other_per_s": got["per_s"]}


def run(folder: Path, rounds: int, count: int, say: Callable[[str], None]) -> Rounds:
    """The whole comparison, in a lab of its own."""
    load = meter.build_load(folder)
    with (
        meter.groups(("client", "agent", "dnsmasq", "unbound")) as groups,
        Lab.open(world()) as lab,
    ):
        return meter.alternate(open_variants(lab, load, count, groups), rounds, say)
