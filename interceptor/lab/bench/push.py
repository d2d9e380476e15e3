"""One endpoint changed, until Envoy uses it, in a mesh of 1,000 services of 10 endpoints."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

from interceptor.lab import agent, description
from interceptor.lab.bench import member, meter, poller
from interceptor.lab.bench.meter import Figures, Rounds, Row, Variant, at_most
from interceptor.lab.bench.part import BACKENDS, Part, Session
from interceptor.lab.description import Host, World
from interceptor.lab.removal import LabFailed, wait_until
from interceptor.lab.world import Lab

SERVICES, ENDPOINTS, QUICK_SERVICES = 1000, 10, 50
VIP = IPv4Address("10.96.0.0")
PORT, BACKEND_PORT = 80, 8080
SIDES = ("left", "right")
NUMBERS = dict(zip(SIDES, (41, 42), strict=True))
REST = range(43, 43 + ENDPOINTS - 1)
WEIGHT = 1000
"""Of the endpoint that changes; the others have 1, so that the next request goes to it."""
PAUSE_S = 0.05
TIMEOUT_S = 600

FIGURES = {
    "change_p50_ms": "ms from the changed file in its place to the first answer by the new "
    "endpoint, median",
    "change_p99_ms": "the same, 99th percentile",
    "change_max_ms": "the same, greatest",
}


def world() -> World:
    """A VM with a sidecar, and one host with all the endpoints that ever answer."""
    served = (
        *(description.backend(side, BACKEND_PORT, NUMBERS[side]) for side in SIDES),
        *(description.backend("rest", BACKEND_PORT, number) for number in REST),
    )
    addresses = tuple(
        interface for number in (*NUMBERS.values(), *REST) for interface in description.pair(number)
    )
    hosts = (
        Host("vm", description.pair(10), namespace="bench"),
        Host("svc", (*description.pair(31), *addresses), served),
    )
    return World(description.pair(1), hosts, (IPv4Address("10.77.0.53"),))


def render_service(number: int, endpoints: list[str]) -> str:
    """A ServiceEntry whose first endpoint gets nearly every request."""
    lines = [
        f"  - {{address: {address}, ports: {{http: {BACKEND_PORT}}}, "
        f"weight: {1 if place else WEIGHT}}}"
        for place, address in enumerate(endpoints)
    ]
    return "\n".join(
        (
            "apiVersion: networking.istio.io/v1",
            "kind: ServiceEntry",
            f"metadata: {{name: svc-{number}, namespace: bench}}",
            "spec:",
            f"  hosts: [svc-{number}.bench.example]",
            f"  addresses: [{VIP + 1 + number}]",
            f"  ports: [{{number: {PORT}, name: http, protocol: HTTP}}]",
            "  resolution: STATIC",
            "  location: MESH_INTERNAL",
            "  endpoints:",
            *lines,
            "---",
            "",
        )
    )


def render_changed(side: str) -> str:
    """The service that is called, its first endpoint on that side."""
    numbers = (NUMBERS[side], *REST)
    return render_service(0, [f"10.77.0.{number}" for number in numbers])


def render_others(count: int) -> str:
    """The services that nobody calls, numbered from one."""
    first = IPv4Address("10.128.0.0")
    return "".join(
        render_service(n, [str(first + n * ENDPOINTS + i) for i in range(ENDPOINTS)])
        for n in range(1, count)
    )


def open_variant(session: Session, lab: Lab) -> Variant | None:
    """The agent with its Envoy, by the first back end that this host has, and the client."""
    is_full = session.amount.hosts > SERVICES
    mesh = lab.host_folder("vm") / "mesh"
    mesh.mkdir(mode=0o755)
    (mesh / "many.yaml").write_text(render_others(SERVICES if is_full else QUICK_SERVICES))
    changed = mesh / "changed.yaml"
    member.replace(changed, render_changed(SIDES[0]))
    for backend in session.backends:
        one = agent.prepare(lab, "vm", {}, mesh)
        if member.start(session, one, backend):
            words = [str(VIP + 1), str(PORT), str(TIMEOUT_S), *SIDES]
            argv = [sys.executable, "-m", poller.__name__, *words]
            lab.start("vm", argv, "poller", detached=True)
            wait_until(lambda: bool(told(lab)), "the first answer", 30)
            return Variant(backend, partial(measure, session, lab, changed))
    return None


def told(lab: Lab) -> list[tuple[float, str]]:
    """What the client has said so far: when, and who began to answer."""
    lines = lab.log("vm", "poller").splitlines(keepends=True)
    words = [line.split() for line in lines if line.endswith("\n")]
    if any(len(each) != 2 for each in words):
        raise LabFailed(lab.log("vm", "poller"))
    return [(float(at), name) for at, name in words]


def measure(session: Session, lab: Lab, changed: Path) -> Figures:
    """Changes one by one, each waited for."""
    times = list(_changes(session.amount.changes * 2, lab, changed))
    return {
        "change_p50_ms": meter.percentile(times, 0.5) * 1e3,
        "change_p99_ms": meter.percentile(times, 0.99) * 1e3,
        "change_max_ms": max(times) * 1e3,
    }


def _changes(count: int, lab: Lab, changed: Path) -> Iterator[float]:
    for _ in range(count):
        before = told(lab)
        side = SIDES[before[-1][1] == SIDES[0]]
        since = member.replace(changed, render_changed(side))
        wait_until(lambda before=before: len(told(lab)) > len(before), f"{side} in use", 10)  # type: ignore[misc]
        at, name = told(lab)[len(before)]
        if name != side:
            raise LabFailed(f"{name} answers, not {side}")
        yield at - since
        time.sleep(PAUSE_S)


def run(session: Session) -> Rounds:
    """Rounds of changes over one connection of the client's, which never breaks."""
    with Lab.open(world()) as lab:
        variant = open_variant(session, lab)
        if variant is None:
            return {}
        return meter.alternate([variant], session.amount.rounds, session.say)


ABOUT = f"""\
The whole way: a file is renamed into its place, the agent reads it, Envoy gets it by delta ADS,
and a client on the VM, which asks over one kept connection every half millisecond, is answered
by the new endpoint. {SERVICES:,} services of {ENDPOINTS} endpoints; the one that changes is in a
file of its own.
"""

PARTS = (
    Part(
        "push",
        "One endpoint changed, until Envoy uses it",
        ABOUT,
        run,
        tuple(
            Row("one endpoint changed, p99, ms", "change_p99_ms", ours, "", at_most(10))
            for ours in BACKENDS
        ),
        FIGURES,
    ),
)
