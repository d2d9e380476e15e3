"""A hundred thousand hosts: from file to answering, memory, and one change until it is answered."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address
from pathlib import Path

from interceptor.lab import agent, description, waiter
from interceptor.lab.agent import Agent
from interceptor.lab.description import Host, World
from interceptor.lab.meter import Figures
from interceptor.lab.removal import LabFailed, wait_until
from interceptor.lab.world import Lab

UPSTREAM = "10.77.0.53"
CHANGES = 20
FIRST = IPv4Address("10.96.0.0")

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


def render_documents(count: int) -> str:
    """``count`` ServiceEntries as an API server would dump them."""
    return "".join(DOCUMENT.format(number=n, address=FIRST + n) for n in range(count))


def render_nametable(count: int, changed: IPv4Address | None = None) -> str:
    """The same hosts as a name table; ``changed`` is the last one's address."""
    table = {
        f"host-{n}.bench.example": {"ips": [str(FIRST + n)], "registry": "External"}
        for n in range(count)
    }
    if changed is not None:
        table[f"host-{count - 1}.bench.example"]["ips"] = [str(changed)]
    return json.dumps({"table": table})


def _replace(file: Path, text: str) -> None:
    """Renamed into place, as a careful writer does it; never seen half-written."""
    part = file.with_name(f".{file.name}.part")
    part.write_text(text)
    part.rename(file)


def _watch(lab: Lab, name: str, address: IPv4Address, timeout_s: float) -> Callable[[], float]:
    """Begin to ask for ``name`` on the VM. Returns what waits for, and gives, the time it came."""
    log = f"waiter-{address}"
    argv = [sys.executable, "-m", waiter.__name__, UPSTREAM, name, str(address), str(timeout_s)]
    process = lab.start("vm", argv, log)
    wait_until(lambda: "polling" in lab.log("vm", log), "the waiter")

    def came() -> float:
        if process.wait(timeout_s + 5) != 0:
            raise LabFailed(lab.log("vm", log))
        return float(lab.log("vm", log).split()[1])

    return came


def _memory_mib(lab: Lab, field: str) -> list[float]:
    """VmRSS or VmHWM of interceptor's processes on the VM, greatest first. Unit: MiB."""
    found = []
    for pid in lab.pids("vm"):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                found.append(int(line.split()[1]) / 1024)
    return sorted(found, reverse=True)


def _measure_change(lab: Lab, change: Callable[[IPv4Address], None], name: str) -> list[float]:
    times = []
    for number in range(CHANGES):
        address = IPv4Address("10.200.0.1") + number
        came = _watch(lab, name, address, 60)
        change(address)
        since = time.monotonic()
        times.append(came() - since)
    return sorted(times)


def _measure(
    one: Agent, last: str, change: Callable[[IPv4Address], None], changed: str, count: int
) -> Figures:
    """``load_s``: from the start of the daemon to its first answer; ``parse_s``: of it, until
    there was a table. Times of a change begin when the file is in its place."""
    came = _watch(one.lab, last, FIRST + count - 1, 120)
    since = time.monotonic()
    one.launch()
    load_s = came() - since
    one.wait_ready()
    loading = _memory_mib(one.lab, "VmHWM")
    table = one.read("status")["table"]
    times = _measure_change(one.lab, change, changed)
    after = _memory_mib(one.lab, "VmRSS")
    one.stop()
    return {
        "load_s": load_s,
        "parse_s": float(table["load_s"]) if isinstance(table, dict) else 0,
        "daemon_peak_mib": loading[0],
        "worker_peak_mib": loading[1],
        "daemon_after_mib": after[0],
        "worker_after_mib": after[1],
        "change_p50_ms": times[len(times) // 2] * 1000,
        "change_max_ms": times[-1] * 1000,
    }


def measure_documents(count: int) -> Figures:
    """The hosts in one YAML file; the one that changes in a file of its own beside it."""
    with Lab.open(world()) as lab:
        mesh = lab.host_folder("vm") / "mesh"
        mesh.mkdir(mode=0o755)
        (mesh / "many.yaml").write_text(render_documents(count))
        one = agent.prepare(lab, "vm", {"sidecar": {"mode": "none"}}, mesh)

        def change(address: IPv4Address) -> None:
            _replace(mesh / "one.yaml", DOCUMENT.format(number="changed", address=address))

        last = f"host-{count - 1}.bench.example"
        return _measure(one, last, change, "host-changed.bench.example", count)


def measure_nametable(count: int) -> Figures:
    """The hosts as a name table, which is written anew, whole, for each change."""
    with Lab.open(world()) as lab:
        file = lab.host_folder("vm") / "nametable.json"
        _replace(file, render_nametable(count))
        source = {"source": "nametable", "nametable": str(file)}
        over = {"sidecar": {"mode": "none"}, "mesh": source}
        one = agent.prepare(lab, "vm", over)
        last = f"host-{count - 1}.bench.example"
        return _measure(
            one, last, lambda address: _replace(file, render_nametable(count, address)), last, count
        )


def run(count: int, say: Callable[[str], None]) -> Iterable[tuple[str, Figures]]:
    """Both sources, one after the other."""
    say(f"{count} hosts from YAML")
    yield "yaml", measure_documents(count)
    say(f"{count} hosts from a name table")
    yield "name table", measure_nametable(count)
