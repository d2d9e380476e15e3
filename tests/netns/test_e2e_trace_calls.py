"""`interceptor trace` of calls through the real daemon and Envoy, on every back end.

The oracle is the client, which says who it is and by which ends it called, and the backend,
which says its name.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from interceptor.host import bpfmap, pin
from interceptor.host.command import Process
from interceptor.host.layout import Map, State
from interceptor.host.ringbuf import RingBuffer
from interceptor.lab import agent as lab_agent
from interceptor.lab import removal
from interceptor.lab.agent import Agent
from interceptor.lab.removal import wait_until
from interceptor.lab.world import PACKAGE_ROOT, Lab

pytestmark = [pytest.mark.root, pytest.mark.envoy]

REVIEWS = "reviews.bookinfo.svc.cluster.local"
OUTSIDE = "10.77.0.61"  # of nobody in the mesh
BACKENDS = ("nftables", "iptables", "ebpf")
PLANES = {"nftables": "netfilter", "iptables": "netfilter", "ebpf": "ebpf"}
Tree = dict[str, object]


@dataclass(frozen=True, slots=True)
class Traced:
    """An agent, and a trace of it that is on."""

    agent: Agent
    plane: str
    process: Process

    def find(self, **wanted: object) -> list[Tree]:
        text = self.agent.lab.log("vm", "trace")
        lines = (json.loads(line) for line in text.splitlines() if line.startswith("{"))
        return [line for line in lines if wanted.items() <= line.items()]

    def wait(self, **wanted: object) -> Tree:
        """The one event with these fields."""
        wait_until(lambda: bool(self.find(**wanted)), f"{wanted}", 5)
        (one,) = self.find(**wanted)
        return one


@pytest.fixture(scope="module", params=BACKENDS)
def member(request: pytest.FixtureRequest) -> Iterator[Agent]:
    with Lab.open() as opened:
        one = lab_agent.prepare(opened, "vm", {"capture": {"backend": request.param}})
        one.start()
        yield one
        one.stop()


@pytest.fixture(scope="module")
def rules(member: Agent) -> str:
    """What is installed while nobody listens."""
    return installed(member)


@pytest.fixture(scope="module")
def traced(member: Agent, rules: str) -> Iterator[Traced]:
    argv = ["env", f"PYTHONPATH={PACKAGE_ROOT}", *member.argv("trace", "--json")]
    process = member.lab.start("vm", argv, "trace")
    plane = PLANES[cast("str", member.read("status")["backend"]).partition("-")[0]]
    trace = Traced(member, plane, process)

    def is_on() -> bool:
        call(member, REVIEWS)
        return bool(trace.find(plane=plane))

    wait_until(is_on, "the trace", 15)
    yield trace
    process.stop(5)


def installed(agent: Agent) -> str:
    """Every rule, also iptables-nft's, without counters."""
    return agent.lab.run("vm", ["nft", "--stateless", "list", "ruleset"]).stdout


CLIENT = """
import os, socket, sys, time
host, port = sys.argv[1], int(sys.argv[2])
with socket.create_connection((host, port), 5) as one:
    one.sendall(f"GET / HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: close\\r\\n\\r\\n".encode())
    answer = b"".join(iter(lambda: one.recv(4096), b""))
    time.sleep(0.3)  # so that its process can be found
    comm = open("/proc/self/comm").read().strip()
    print(os.getpid(), comm, *one.getsockname()[:2], answer.split()[-1].decode())
"""


@dataclass(frozen=True, slots=True)
class Call:
    """What a client says of itself, and what it was answered."""

    pid: int
    comm: str
    address: str
    port: int
    body: str


def call(agent: Agent, host: str, port: int = 9080) -> Call:
    argv = [sys.executable, "-c", CLIENT, host, str(port)]
    pid, comm, address, from_port, body = agent.lab.run("vm", argv).stdout.split()
    return Call(int(pid), comm, address, int(from_port), body)


def test_a_call_is_told_with_its_process_rule_and_way(traced: Traced) -> None:
    made = call(traced.agent, REVIEWS)
    one = traced.wait(source_port=made.port, plane=traced.plane)
    assert (one["kind"], one["verdict"], one["rule"]) == ("connection", "outbound", 7)
    assert (one["pid"], one["comm"], one["uid"]) == (made.pid, made.comm, 0)
    loopback = "[::1]" if ":" in made.address else "127.0.0.1"
    assert (one["source"], one["to"]) == (made.address, f"{loopback}:15001")
    assert one["host"] == REVIEWS
    assert one["port"] == 9080
    assert "mesh address" in cast("str", one["why"])


def test_what_became_of_it_in_the_sidecar_is_told_with_the_same_process(traced: Traced) -> None:
    made = call(traced.agent, REVIEWS)
    one = traced.wait(source_port=made.port, plane="sidecar")
    assert (one["verdict"], one["host"], one["source"]) == ("outbound", REVIEWS, made.address)
    assert (one["pid"], one["comm"]) == (made.pid, made.comm)
    cluster, endpoint = cast("str", one["to"]).split()
    assert cluster == f"outbound|9080||{REVIEWS}"
    # Asked by a host without an agent.
    direct = traced.agent.lab.run("svc1", ["curl", "-sS", "-m", "5", f"http://{endpoint}/"])
    assert made.body == direct.stdout.strip(), "the backend's own word"
    assert 0 <= cast("float", one["took_s"]) < 5
    assert cast("str", one["why"]).startswith("GET / 200")


def test_a_call_to_nobody_of_the_mesh_is_told_as_passed(traced: Traced) -> None:
    made = call(traced.agent, OUTSIDE, 80)
    assert made.body == "www.corp.example"
    # The programs decide before there is a source port.
    wanted = {"destination": OUTSIDE} if traced.plane == "ebpf" else {"source_port": made.port}
    one = traced.wait(plane=traced.plane, **wanted)
    assert (one["verdict"], one["rule"]) == ("pass", 9)
    assert (one["pid"], one["comm"]) == (made.pid, made.comm)
    assert one["to"] == f"{OUTSIDE}:80"
    assert not traced.find(plane="sidecar", destination=OUTSIDE)


def test_what_the_sidecar_calls_is_told_as_its_own(traced: Traced) -> None:
    call(traced.agent, "details.bookinfo.svc.cluster.local")  # no connection to it is open yet
    wait_until(lambda: bool(traced.find(comm="envoy", plane=traced.plane)), "Envoy's call", 5)
    one = traced.find(comm="envoy", plane=traced.plane)[0]
    assert (one["verdict"], one["uid"]) == ("pass", 1337)
    assert "rule 2" in f"rule {one['rule']}" or "exempt" in cast("str", one["why"])


def test_a_query_that_the_kernel_answers_is_told_with_its_answer(traced: Traced) -> None:
    if traced.plane != "ebpf":
        return  # the DNS worker's queries are test_e2e_trace's
    script = 'echo $$; exec dig +short +tries=1 -b10.77.0.10#45001 "$0" A'
    text = traced.agent.lab.run("vm", ["sh", "-c", script, REVIEWS]).stdout.split()
    one = traced.wait(source_port=45001)
    assert (one["plane"], one["kind"], one["verdict"]) == ("kernel", "dns", "answer")
    assert (one["name"], one["qtype"], one["host"]) == (REVIEWS, "A", REVIEWS)
    assert sorted(cast("list[str]", one["answers"])) == sorted(text[1:])
    assert one["why"] == traced.agent.read("resolve", REVIEWS)["why"]
    # dig has ended by now; the program knew the thread that made the socket by its own name.
    assert (one["pid"], one["uid"]) == (int(text[0]), 0)
    assert one["comm"] in ("dig", "isc-net-0000")
    assert (one["destination"], one["port"]) == ("10.77.0.53", 53)


def test_a_trace_changes_nothing_of_what_is_installed(traced: Traced, rules: str) -> None:
    assert installed(traced.agent) == rules


def test_with_nobody_listening_nothing_is_told(traced: Traced, rules: str) -> None:
    """Last of all: it ends the trace."""
    traced.process.stop(5)
    agent = traced.agent
    if traced.plane == "ebpf":
        wait_until(lambda: until_ns(agent) == 0, "the end of the lease", 5)
        written = positions(agent)
        call(agent, REVIEWS)
        assert positions(agent) == written, "no record"
    else:
        wait_until(lambda: listeners(agent) == 0, "the end of the listener", 5)
    assert installed(agent) == rules


def positions(agent: Agent) -> tuple[int, int]:
    """How far the ring of events was written and read."""
    found = pin.adopt_map(Path(removal.bpffs(agent.lab.token, "vm"), "interceptor"), Map.EVENTS)
    assert found is not None
    ring = RingBuffer(found)
    try:
        return ring._end[0], ring._position[0]
    finally:
        ring.close()
        found.close()


def listeners(agent: Agent) -> int:
    """Sockets of the VM that are told of new connections (group 1 of netfilter's netlink)."""
    rows = agent.lab.run("vm", ["cat", "/proc/net/netlink"]).stdout.splitlines()[1:]
    words = (row.split() for row in rows)
    return sum(1 for each in words if each[1] == "12" and int(each[3], 16) & 1)


def until_ns(agent: Agent) -> int:
    folder = Path(removal.bpffs(agent.lab.token, "vm"), "interceptor")
    found = pin.adopt_map(folder, Map.STATE)
    assert found is not None
    try:
        return bpfmap.read_state(found, State.TRACE_NS)
    finally:
        found.close()
