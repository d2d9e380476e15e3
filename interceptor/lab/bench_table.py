"""A hundred thousand hosts: from file to answering, memory, and one change until it is answered."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address
from pathlib import Path

from interceptor.lab import agent, description
from interceptor.lab.agent import Agent
from interceptor.lab.description import Host, World
from interceptor.lab.meter import Figures
from interceptor.lab.removal import wait_until
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


def _ask(lab: Lab, name: str) -> str:
    argv = ["dig", "+short", "+tries=1", "+timeout=1", f"@{UPSTREAM}", name]
    return lab.run("vm", argv, check=False).stdout.strip()


def _until(lab: Lab, name: str, address: IPv4Address, timeout_s: float) -> float:
    """Seconds until ``name`` has that address. A dig costs some 10 ms of them."""
    start = time.monotonic()
    wait_until(lambda: _ask(lab, name) == str(address), f"{name} at {address}", timeout_s, 0.001)
    return time.monotonic() - start


def _memory_mib(lab: Lab, field: str) -> float:
    """VmRSS or VmHWM of all of interceptor's processes on the VM. Unit: MiB."""
    total = 0
    for pid in lab.pids("vm"):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                total += int(line.split()[1])
    return total / 1024


def _measure_change(lab: Lab, change: Callable[[IPv4Address], None], name: str) -> list[float]:
    times = []
    for number in range(CHANGES):
        address = IPv4Address("10.200.0.1") + number
        change(address)
        times.append(_until(lab, name, address, 30))
    return sorted(times)


def _measure(
    one: Agent, last: str, change: Callable[[IPv4Address], None], changed: str, count: int
) -> Figures:
    start = time.monotonic()
    one.launch()
    _until(one.lab, last, FIRST + count - 1, 120)
    load_s = time.monotonic() - start
    peak = _memory_mib(one.lab, "VmHWM")
    times = _measure_change(one.lab, change, changed)
    figures = {
        "load_s": load_s,
        "peak_mib": peak,
        "after_mib": _memory_mib(one.lab, "VmRSS"),
        "change_p50_ms": times[len(times) // 2] * 1000,
        "change_max_ms": times[-1] * 1000,
    }
    one.stop()
    return figures


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
