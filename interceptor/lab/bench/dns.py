"""The DNS plane against dnsmasq and unbound behind REDIRECT, nsd and knot asked directly, and
no agent at all; with a thousand names and with a hundred thousand."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from ipaddress import IPv4Address

from interceptor.lab import description
from interceptor.lab.bench import load, member, meter, peer
from interceptor.lab.bench.meter import Rounds, Row, Variant, at_least, at_most
from interceptor.lab.bench.part import BACKENDS, Chart, Part, Session
from interceptor.lab.description import Host, World
from interceptor.lab.removal import wait_until
from interceptor.lab.world import Lab

FEW = 1000
WINDOW = 64
REDIRECTED = ("dnsmasq", "unbound")
DIRECT = {"nsd": IPv4Address("10.77.0.54"), "knot": IPv4Address("10.77.0.55")}
UPSTREAM = IPv4Address("10.77.0.53")
"""Everybody's resolver. It knows no name of the mesh, so that what passes is not answered."""
REDIRECT_PORT = 5353
START_S = 60

FIGURES = {
    "many_cpu_us": f"CPU µs a query, {WINDOW} in flight, client and server together",
    "one_cpu_us": "the same, one in flight",
    "one_p50_us": "µs from query to answer, one in flight, median",
    "one_p99_us": "the same, 99th percentile",
    "one_per_s": "answers a second, one in flight",
    "many_per_s": f"answers a second, {WINDOW} in flight",
    "other_p50_us": "µs to the upstream's answer for a name that is not the mesh's, median",
}


def world() -> World:
    """A host for each variant, all asking the same upstream."""
    clients = (*BACKENDS, *REDIRECTED, "plain")
    hosts = (
        *(
            Host(name, description.pair(10 + number), namespace="bench")
            for number, name in enumerate(clients)
        ),
        Host("upstream", description.pair(53)),
        Host("nsd", description.pair(54)),
        Host("knot", description.pair(55)),
    )
    return World(description.pair(1), hosts, (UPSTREAM,))


def start_peer(lab: Lab, host: str, kind: str, listen: tuple[IPv4Address, int], count: int) -> None:
    """Start a server of ``peer.PEERS`` on ``host``."""
    made = peer.PEERS[kind]
    folder = lab.host_folder(host)
    files = made.render(str(folder), *listen, count)
    for name, text in files.items():
        (folder / name).write_text(text)
    config = str(folder / next(iter(files)))
    lab.start(host, [word.format(config) for word in made.argv], kind, detached=True)


def await_answer(lab: Lab, host: str, server: IPv4Address, name: str, address: IPv4Address) -> None:
    """Wait until ``name`` asked of ``server`` has that address. Raises LabFailed."""
    ask = ["dig", "+short", "+tries=1", "+timeout=1", f"@{server}", name]
    wanted = f"{address}\n"
    what = f"the answer for {name} on {host}"
    wait_until(lambda: lab.run(host, ask, check=False).stdout == wanted, what, START_S, 0.2)


def open_variants(session: Session, lab: Lab, count: int) -> tuple[Variant, ...]:
    """Start every server, and give what to measure."""
    queries = session.amount.queries
    measure = partial(_measure_mesh, lab, session.load, count, queries)
    other = partial(_measure_other, lab, session.load, queries)
    start_peer(lab, "upstream", "nsd", (UPSTREAM, 53), 0)
    await_answer(lab, "plain", UPSTREAM, peer.OTHER, peer.OTHER_ADDRESS)
    variants = []
    for name, address in DIRECT.items():
        start_peer(lab, name, name, (address, 53), count)
        await_answer(lab, "plain", address, *peer.names(count)[-1])
        variants.append(Variant(f"{name}, direct", partial(measure, "plain", name)))
    for name in session.backends:
        one, _ = member.with_names(lab, name, member.render_nametable(peer.names(count)))
        if not member.start(session, one, name):
            continue
        await_answer(lab, name, UPSTREAM, *peer.names(count)[-1])
        variants.append(Variant(name, lambda name=name: measure(name) | other(name)))  # type: ignore[misc]
    for name in REDIRECTED:
        start_peer(lab, name, name, (IPv4Address("127.0.0.1"), REDIRECT_PORT), count)
        rule = f"-t nat -A OUTPUT -p udp --dport 53 -j REDIRECT --to-ports {REDIRECT_PORT}"
        lab.run(name, ["iptables", *rule.split()])
        await_answer(lab, name, UPSTREAM, *peer.names(count)[-1])
        variants.append(Variant(f"{name}, REDIRECT", partial(measure, name)))
    return (*variants, Variant("no agent", partial(other, "plain")))


def _measure_mesh(
    lab: Lab, program: str, names: int, queries: int, host: str, server: str = ""
) -> dict[str, float]:
    """``server`` is the host that answers, where that is not the client's own."""
    asked = DIRECT.get(server, UPSTREAM)
    others = (server,) if server else ()

    def ask(total: int, window: int) -> dict[str, float]:
        words = ("dns", asked, peer.PATTERN, names, total, window)
        return load.measure(lab, host, program, words, others)

    one, many = ask(queries, 1), ask(queries * 4, WINDOW)
    return {
        "many_cpu_us": many["cpu_us"],
        "one_cpu_us": one["cpu_us"],
        "one_p50_us": one["p50_us"],
        "one_p99_us": one["p99_us"],
        "one_per_s": one["per_s"],
        "many_per_s": many["per_s"],
    }


def _measure_other(lab: Lab, program: str, queries: int, host: str) -> dict[str, float]:
    words = ("dns", UPSTREAM, peer.OTHER, 1, queries, 1)
    return {"other_p50_us": load.measure(lab, host, program, words)["p50_us"]}


def run(session: Session, count: int) -> Rounds:
    """The whole comparison, in a lab of its own."""
    with Lab.open(world()) as lab:
        variants = open_variants(session, lab, count)
        return meter.alternate(variants, session.amount.rounds, session.say)


def build_rows() -> Sequence[Row]:
    """Design §12, and the same comparisons for the back ends that have no target there."""
    cpu, p50, other = "CPU per mesh query", "mesh name, p50", "other names, p50"
    rates = ("answers/s, one in flight", "answers/s, 64 in flight")
    unbound, dnsmasq = "unbound, REDIRECT", "dnsmasq, REDIRECT"
    rows = [
        Row(cpu, "many_cpu_us", "ebpf", "nsd, direct", at_most(0.55)),
        Row(cpu, "many_cpu_us", "ebpf", "knot, direct"),
        Row(cpu, "many_cpu_us", "ebpf", unbound, at_most(0.40)),
        Row(cpu, "many_cpu_us", "ebpf", dnsmasq, at_most(0.35)),
        Row(p50, "one_p50_us", "ebpf", unbound, at_most(0.30)),
        Row(p50, "one_p50_us", "ebpf", dnsmasq, at_most(0.30)),
        Row(rates[0], "one_per_s", "ebpf", dnsmasq, at_least(5)),
        Row(rates[1], "many_per_s", "ebpf", dnsmasq, at_least(2)),
        Row(other, "other_p50_us", "ebpf", "no agent", at_most(1.05)),
    ]
    for ours in ("nftables", "iptables"):
        rows += [
            Row(cpu, "many_cpu_us", ours, "nsd, direct"),
            Row(cpu, "many_cpu_us", ours, unbound),
            Row(cpu, "many_cpu_us", ours, dnsmasq),
            Row(p50, "one_p50_us", ours, dnsmasq),
            Row(rates[0], "one_per_s", ours, dnsmasq, at_least(1)),
            Row(rates[1], "many_per_s", ours, dnsmasq, at_least(1)),
            Row(other, "other_p50_us", ours, "no agent", at_most(1.25)),
        ]
    return rows


ABOUT = """\
Each variant is a host of its own, all on one bridge. nsd and knot stand on hosts of their own and
are asked without any interception (their CPU time counts too), dnsmasq and unbound on the client's
host behind `iptables -j REDIRECT`. Every server has one thread. CPU time is `cpu.stat` of the
hosts' cgroups: client, server, agent and what the kernel does for them.
"""


def charts(names: str) -> tuple[Chart, ...]:
    """What the plot shows of it."""
    return (
        Chart(f"CPU per mesh query, client and server ({names} names)", "many_cpu_us", "µs"),
        Chart(f"Mesh name, one in flight, p50 ({names} names)", "one_p50_us", "µs"),
        Chart(
            f"Answers a second, 64 in flight ({names} names)", "many_per_s", "/s", "more is better"
        ),
    )


PARTS = (
    Part(
        "dns",
        "DNS: 1,000 names",
        ABOUT,
        lambda session: run(session, min(FEW, session.amount.many_names)),
        tuple(build_rows()),
        FIGURES,
        (*charts("1,000"), Chart("Other names, p50", "other_p50_us", "µs")),
    ),
    Part(
        "dns-100k",
        "DNS: 100,000 names",
        ABOUT,
        lambda session: run(session, session.amount.many_names),
        tuple(build_rows()),
        FIGURES,
        charts("100,000"),
    ),
)
