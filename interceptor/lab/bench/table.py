"""A hundred thousand hosts: from file to answering, memory, and one change until it is answered."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

from interceptor.lab import agent, description, waiter
from interceptor.lab.agent import Agent
from interceptor.lab.bench import member, memory, meter, names
from interceptor.lab.bench.meter import Figures, Rounds, Row, Variant, at_most
from interceptor.lab.bench.part import BACKENDS, Chart, Part, Session
from interceptor.lab.description import Host, World
from interceptor.lab.removal import LabFailed, wait_until
from interceptor.lab.world import Lab

UPSTREAM = "10.77.0.53"
PLAIN_PORT = 15010  # where istiod speaks without TLS
ROUNDS = 3  # each takes minutes: load and memory hardly vary
FIRST = IPv4Address("10.96.0.0")
CHANGED = IPv4Address("10.200.0.1")
FILES = 1000
HOST_NAME = "host-{}.bench.example"

FIGURES = {
    "load_s": "seconds from the start of the daemon to its first answer for the last host",
    "parse_s": "of these, until there was a table",
    "agent_peak_mib": "greatest RSS of daemon and DNS worker while loading, added",
    "daemon_peak_mib": "the daemon's part of it",
    "agent_after_mib": "RSS of daemon and worker after the changes, added",
    "daemon_after_mib": "the daemon's part of it",
    "maps_mib": "what the kernel has locked for the agent's BPF maps",
    "kernel_mib": "growth of the machine's slab, vmalloc and per-CPU memory in all",
    "change_p50_ms": "ms from a changed file in its place to the changed answer, median",
    "change_p99_ms": "the same, 99th percentile",
}

DOCUMENT = """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: host-{number}
  namespace: bench
spec:
  hosts:
  - host-{number}.bench.example
  addresses:
  - {address}
  ports:
  - number: 80
    name: http
    protocol: HTTP
  resolution: STATIC
---
"""


def world() -> World:
    """One VM, and a DNS server for what is not the mesh's."""
    hosts = (
        Host("vm", description.pair(10), namespace="bench"),
        Host("dns", description.pair(53), records=description.RECORDS),
    )
    search = ("one.example", "two.example", "three.example")
    return World(description.pair(1), hosts, (IPv4Address(UPSTREAM),), search)


def hosts(count: int, changed: IPv4Address | None = None) -> list[tuple[str, IPv4Address]]:
    """Names with addresses; ``changed`` is the last one's address."""
    found = [(HOST_NAME.format(number), FIRST + number) for number in range(count)]
    if changed is not None:
        found[-1] = (found[-1][0], changed)
    return found


def render_documents(first: int, end: int, changed: IPv4Address | None = None) -> str:
    """The hosts of these numbers as ServiceEntries, as an API server would dump them."""
    return "".join(
        DOCUMENT.format(number=n, address=changed if changed and n == end - 1 else FIRST + n)
        for n in range(first, end)
    )


Change = Callable[[IPv4Address], float]
"""Returns when, as `member.replace`."""


@dataclass(frozen=True, slots=True)
class Source:
    """A mesh in its files: the agent that reads it, and how its last host is changed."""

    agent: Agent
    change: Change


def in_one_file(lab: Lab, count: int) -> Source:
    """The hosts in one YAML file but for the last, which has a file of its own beside it."""
    mesh = lab.host_folder("vm") / "mesh"
    mesh.mkdir(mode=0o755)
    (mesh / "many.yaml").write_text(render_documents(0, count - 1))
    return _from_yaml(lab, mesh, mesh / "one.yaml", count - 1, count)


def in_many_files(lab: Lab, count: int) -> Source:
    """The hosts in a thousand YAML files."""
    mesh = lab.host_folder("vm") / "mesh"
    mesh.mkdir(mode=0o755)
    size = -(-count // FILES)
    for first in range(0, count, size):
        text = render_documents(first, min(first + size, count))
        (mesh / f"from-{first:06}.yaml").write_text(text)
    first = (count - 1) // size * size
    return _from_yaml(lab, mesh, mesh / f"from-{first:06}.yaml", first, count)


def _from_yaml(lab: Lab, mesh: Path, last: Path, first: int, end: int) -> Source:
    def change(address: IPv4Address) -> float:
        return member.replace(last, render_documents(first, end, address))

    change(FIRST + end - 1)
    return Source(agent.prepare(lab, "vm", member.NO_SIDECAR, mesh), change)


def as_nametable(lab: Lab, count: int) -> Source:
    """The hosts as a name table, which is written anew, whole, for each change."""
    one, file = member.with_names(lab, "vm", member.render_nametable(hosts(count)))

    def change(address: IPv4Address) -> float:
        return member.replace(file, member.render_nametable(hosts(count, address)))

    return Source(one, change)


def from_istiod(lab: Lab, count: int) -> Source:
    """The hosts by xDS, from a control plane on another host."""
    folder = lab.host_folder("dns") / "mesh"
    folder.mkdir(mode=0o755)
    rows = [f"{name} {address}\n" for name, address in hosts(count)]
    (folder / names.ALL).write_text("".join(rows))
    place = f"{UPSTREAM}:{PLAIN_PORT}"
    lab.start("dns", [sys.executable, "-m", names.__name__, place, str(folder)], "names")
    wait_until(lambda: "ready" in lab.log("dns", "names"), "the control plane", 60)
    istiod = {"addresses": [place], "empty_after_s": 0}
    over = description.merge(member.NO_SIDECAR, {"mesh": {"source": "istiod", "istiod": istiod}})

    def change(address: IPv4Address) -> float:
        return member.replace(folder / names.LAST, str(address))

    return Source(agent.prepare(lab, "vm", over), change)


SOURCES: Mapping[str, Callable[[Lab, int], Source]] = {
    "one YAML file": in_one_file,
    "1,000 YAML files": in_many_files,
    "name table": as_nametable,
    "istiod": from_istiod,
}
FILES_ONLY = tuple(title for title in SOURCES if title != "istiod")
"""Design §12 has limits for these: gRPC alone takes 20 MiB."""


@contextmanager
def watching(lab: Lab, name: str, address: IPv4Address) -> Iterator[Callable[[], float]]:
    """Asks for ``name`` on the VM meanwhile. Gives what waits for the answer, and returns when."""
    log, timeout_s = f"waiter-{address}", 120
    argv = [sys.executable, "-m", waiter.__name__, UPSTREAM, name, str(address), str(timeout_s)]
    process = lab.start("vm", argv, log)
    wait_until(lambda: "polling" in lab.log("vm", log), "the waiter")

    def came() -> float:
        if process.wait(timeout_s + 5) != 0:
            raise LabFailed(lab.log("vm", log))
        return float(lab.log("vm", log).split()[1])

    try:
        yield came
    finally:
        process.stop()


def measure(session: Session, backend: str, open_source: Callable[[Lab, int], Source]) -> Figures:
    """One load, and changes one by one. A change begins as its file is renamed into place."""
    count = session.amount.hosts
    name, address = hosts(count)[-1]
    with Lab.open(world()) as lab:
        source = open_source(lab, count)
        kernel = memory.kernel_mib()
        with watching(lab, name, address) as came:
            since = time.monotonic()
            source.agent.launch("--backend", backend)
            load_s = came() - since
        member.settle(session, source.agent, backend)
        peak = memory.resident_mib(lab, "vm", "VmHWM")
        table = source.agent.read("status")["table"]
        times = _measure_changes(session, lab, source, name)
        after = memory.resident_mib(lab, "vm", "VmRSS")
        figures = {
            "load_s": load_s,
            "parse_s": float(table["load_s"]) if isinstance(table, dict) else 0,
            "agent_peak_mib": sum(peak),
            "daemon_peak_mib": peak[0],
            "agent_after_mib": sum(after),
            "daemon_after_mib": after[0],
            "kernel_mib": max(memory.kernel_mib() - kernel, 0),
            "change_p50_ms": meter.percentile(times, 0.5) * 1e3,
            "change_p99_ms": meter.percentile(times, 0.99) * 1e3,
        }
        if backend == "ebpf":
            figures["maps_mib"] = memory.map_bytes(lab, "vm") / 2**20
        source.agent.stop()
        return figures


def _measure_changes(session: Session, lab: Lab, source: Source, name: str) -> list[float]:
    times = []
    for number in range(session.amount.changes):
        address = CHANGED + number
        with watching(lab, name, address) as came:
            since = source.change(address)
            times.append(came() - since)
    return times


def run(session: Session) -> Rounds:
    """Every source by every back end that this host has."""
    there = [name for name in session.backends if _is_supported(session, name)]
    variants = [
        Variant(f"{backend}, {title}", partial(measure, session, backend, source))
        for backend in there
        for title, source in SOURCES.items()
    ]
    rounds = min(session.amount.rounds, ROUNDS)
    return meter.alternate(variants, rounds, session.say, warm=False)


def _is_supported(session: Session, backend: str) -> bool:
    with Lab.open(world()) as lab:
        one = as_nametable(lab, 1).agent
        is_there = member.start(session, one, backend)
        one.stop()
        return is_there


def build_rows() -> tuple[Row, ...]:
    """Design §12. A change within a file of 33 MB is not one host's change, so that its row
    is of the sources that say one host in a file of its own, or of a hundred."""
    rows = []
    for backend in BACKENDS:
        ours, file = f"{backend}, istiod", f"{backend}, name table"
        rows += [
            Row("100,000 hosts by xDS: from start to answering, by its file", "load_s", ours, file),
            Row("100,000 hosts by xDS: RSS after, by its file", "agent_after_mib", ours, file),
            Row("one host changed by xDS, p50, by its file", "change_p50_ms", ours, file),
        ]
        for title in FILES_ONLY:
            ours, what = f"{backend}, {title}", "100,000 hosts"
            rows += [
                Row(f"{what}: file to answering, s", "load_s", ours, "", at_most(5)),
                Row(f"{what}: RSS while loading, MiB", "agent_peak_mib", ours, "", at_most(250)),
                Row(f"{what}: RSS after, MiB", "agent_after_mib", ours, "", at_most(120)),
                Row("one host changed, p99, ms", "change_p99_ms", ours, "", at_most(20)),
            ]
            if backend == "ebpf":
                rows.append(Row(f"{what}: maps, MiB", "maps_mib", ours, "", at_most(150)))
    return tuple(rows)


ABOUT = f"""\
100,000 hosts with an address each and three search domains in `resolv.conf`: in one YAML file
with the host that changes in a file of its own, in {FILES:,} YAML files, in one name-table file, or
from a control plane by xDS. A change renames a file into its place; the name table is written
anew, whole, each time, and so the control plane sends it. A client asks for the changed name a
thousand times a second.
"""

PARTS = (
    Part(
        "table",
        "A mesh of 100,000 hosts",
        ABOUT,
        run,
        build_rows(),
        FIGURES,
        (
            Chart("100,000 hosts: file to answering", "load_s", "s"),
            Chart("100,000 hosts: RSS of the agent, after", "agent_after_mib", "MiB"),
            Chart("One of 100,000 hosts changed, until answered, p99", "change_p99_ms", "ms"),
        ),
    ),
)
