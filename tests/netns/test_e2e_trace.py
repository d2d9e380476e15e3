"""`interceptor trace` by a real daemon: what it tells is what the programs saw and did.

The oracle is the client: dig's own words, its pid by the shell that became it, its port by
its own choice; and the log of the server behind.
"""

from __future__ import annotations

import itertools
import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import pytest

from interceptor.host.command import Process
from interceptor.lab import agent as lab_agent
from interceptor.lab.agent import Agent
from interceptor.lab.removal import wait_until
from interceptor.lab.world import PACKAGE_ROOT, Lab

pytestmark = pytest.mark.root

REVIEWS = "reviews.bookinfo.svc.cluster.local"
MARKER = f"_http._tcp.{REVIEWS}"  # no kernel answers this by itself
BACKENDS = ("nftables", "iptables", "ebpf")
SERVERS = {4: "10.77.0.53", 6: "fd77::53"}
SOURCES = {4: "10.77.0.10", 6: "fd77::10"}
Tree = dict[str, object]


@pytest.fixture(scope="module", params=BACKENDS)
def member(request: pytest.FixtureRequest) -> Iterator[Agent]:
    """A running agent whose sidecar is nobody's matter here."""
    with Lab.open() as opened:
        over = {
            "capture": {"backend": request.param},
            "dns": {
                "own_zones": ["cluster.local"],
                "forward_zones": {"zone.example": [SERVERS[4]]},
            },
            "sidecar": {"mode": "none"},
        }
        one = lab_agent.prepare(opened, "vm", over)
        one.start()
        yield one
        one.stop()


@dataclass(frozen=True, slots=True)
class Trace:
    """A running `interceptor trace --json`."""

    agent: Agent
    process: Process
    log: str

    def lines(self) -> list[Tree]:
        text = self.agent.lab.log(self.agent.host, self.log)
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def events(self) -> list[Tree]:
        return [line for line in self.lines() if "kind" in line]

    def find(self, **wanted: object) -> list[Tree]:
        return [one for one in self.events() if wanted.items() <= one.items()]

    def wait(self, **wanted: object) -> Tree:
        """The one event with these fields."""
        wait_until(lambda: bool(self.find(**wanted)), f"{wanted}", 5)
        (one,) = self.find(**wanted)
        return one


@contextmanager
def tracing(agent: Agent, name: str, *words: str) -> Iterator[Trace]:
    """A trace that is known to be on."""
    argv = ["env", f"PYTHONPATH={PACKAGE_ROOT}", *agent.argv("trace", "--json", *words)]
    process = agent.lab.start(agent.host, argv, name)
    try:
        yield Trace(agent, process, name)
    finally:
        process.stop(5)


@contextmanager
def listening(agent: Agent, name: str, *words: str) -> Iterator[Trace]:
    with tracing(agent, name, *words) as trace:

        def is_on() -> bool:
            dig(agent, MARKER, "SRV")
            return bool(trace.find(name=MARKER))

        wait_until(is_on, "the trace", 15)
        yield trace


def dig(agent: Agent, name: str, kind: str = "A", *words: str) -> tuple[int, str]:
    """dig's pid and what it prints."""
    asks = ("dig", "+tries=1", "+timeout=2", *words, name, kind)
    argv = ["sh", "-c", 'echo $$; exec "$@"', "sh", *asks]
    pid, _, text = agent.lab.run(agent.host, argv, check=False).stdout.partition("\n")
    return int(pid), text


def data(text: str) -> list[str]:
    """The data of dig's answer section."""
    _, _, section = text.partition(";; ANSWER SECTION:\n")
    rows = section.partition("\n\n")[0].splitlines()
    return [" ".join(row.split()[4:]).rstrip(".") for row in rows]


CASES = (
    # name, type, verdict
    (REVIEWS, "A", "answer"),
    (REVIEWS, "AAAA", "answer"),
    (f"{REVIEWS}.corp.example", "A", "answer"),
    (MARKER, "SRV", "answer"),
    (f"{REVIEWS}.", "TXT", "nodata"),
    ("nobody.bookinfo.svc.cluster.local", "A", "nxdomain"),
    ("www.corp.example", "A", "pass"),
    ("www.zone.example", "A", "forward"),
)


_REASONS: dict[tuple[str, str], tuple[object, object]] = {}


FLAGS = {"udp": "+notcp", "tcp": "+tcp"}


def reasons(agent: Agent) -> dict[tuple[str, str], tuple[object, object]]:
    """Why and by which host, as `resolve` says; the mesh is the same for every back end."""
    if not _REASONS:
        for name, kind, _ in CASES:
            found = agent.read("resolve", name, "--type", kind)
            _REASONS[name, kind] = found["why"], found["host"]
    return _REASONS


@dataclass(frozen=True, slots=True)
class Asked:
    """One query of ours, and what the client saw."""

    case: tuple[str, str, str]
    version: int
    transport: str
    port: int
    pid: int
    text: str
    began_s: float
    ended_s: float


def ask(agent: Agent) -> Iterator[Asked]:
    """Every case by either family and transport, each from a port of its own."""
    ways = itertools.product((4, 6), ("udp", "tcp"), CASES)
    for port, (version, transport, case) in enumerate(ways, 40_000):
        began_s = time.time()
        words = [f"@{SERVERS[version]}", f"-b{SOURCES[version]}#{port}", FLAGS[transport]]
        pid, text = dig(agent, *case[:2], *words)
        yield Asked(case, version, transport, port, pid, text, began_s, time.time())


def compare(one: Tree, asked: Asked, why: tuple[object, object]) -> None:
    name, kind, verdict = asked.case
    assert (one["name"], one["qtype"]) == (name.rstrip("."), kind)
    assert (one["source"], one["protocol"]) == (SOURCES[asked.version], asked.transport)
    assert (one["destination"], one["port"]) == (SERVERS[asked.version], 53)
    assert (one["kind"], one["verdict"]) == ("dns", verdict)
    answers = cast("list[str]", one["answers"])
    assert sorted(answers) == (sorted(data(asked.text)) if verdict != "pass" else [])
    by_kernel = one["plane"] == "kernel"  # whose answer is there before anybody could look
    who = (one["pid"], one["comm"])
    assert who == (asked.pid, "dig") or (by_kernel and who == (0, ""))
    assert one["uid"] == 0
    assert asked.began_s - 0.1 <= cast("float", one["time_s"]) <= asked.ended_s + 0.1
    assert by_kernel or 0 < cast("float", one["took_s"]) < 2
    assert (one["why"], one["host"]) == why


def test_every_query_is_told_as_it_was_asked_and_answered(member: Agent) -> None:
    with listening(member, "told") as trace:
        asked = tuple(ask(member))
        for one in asked:
            compare(trace.wait(source_port=one.port), one, reasons(member)[one.case[:2]])


@pytest.mark.parametrize("member", ["nftables"], indirect=True)
def test_filters_are_the_daemon_s(member: Agent) -> None:
    with listening(member, "filtered", "--service", "reviews") as trace:
        dig(member, "_http._tcp.ratings.mesh.internal", "SRV")
        dig(member, "www.corp.example", "A", "+tcp")
        dig(member, f"{REVIEWS}.corp.example", "A", "+tcp")
        trace.wait(name=f"{REVIEWS}.corp.example")
        assert {one["host"] for one in trace.events()} == {REVIEWS}


@pytest.mark.parametrize("member", ["nftables"], indirect=True)
def test_a_process_s_own_queries_can_be_followed(member: Agent) -> None:
    with listening(member, "verdicts", "--verdict", "answer", "--verdict", "pass") as trace:
        pid, _ = dig(member, "www.corp.example", "A", "+tcp")
        assert trace.wait(name="www.corp.example")["pid"] == pid
        dig(member, REVIEWS, "MX", "+tcp")
        assert not trace.find(qtype="MX")


@pytest.mark.parametrize("member", ["nftables"], indirect=True)
def test_a_bound_is_kept_and_what_it_left_out_is_said(member: Agent) -> None:
    script = "for n in 1 2 3 4 5 6 7 8 9 10; do dig +tries=1 +time=1 $0 SRV; done >/dev/null"
    asked, began = 0, time.monotonic()
    with tracing(member, "bound", "--rate", "1") as trace:

        def is_said() -> bool:
            nonlocal asked
            member.lab.run(member.host, ["sh", "-c", script, MARKER], check=False)
            asked += 10
            return any(line.get("left_out") for line in trace.lines())

        wait_until(is_said, "what was left out", 15)
        told = len(trace.events())
        left_out = sum(cast("int", line.get("left_out", 0)) for line in trace.lines())
        assert 1 <= told <= time.monotonic() - began + 1
        assert 0 < left_out <= asked - told


@pytest.mark.parametrize("member", ["nftables"], indirect=True)
def test_a_trace_ends_after_its_time_or_count(member: Agent) -> None:
    with tracing(member, "timed", "--duration", "100ms") as trace:
        assert trace.process.wait(10) == 0
    with tracing(member, "counted", "--count", "2") as trace:
        wait_until(lambda: bool(dig(member, MARKER, "SRV") and trace.events()), "the trace", 15)
        dig(member, MARKER, "SRV")
        assert trace.process.wait(10) == 0
        assert len(trace.events()) == 2


@pytest.mark.parametrize("member", ["nftables"], indirect=True)
def test_ctrl_c_ends_it_cleanly_and_a_summary_says_what_was_found(member: Agent) -> None:
    argv = ["env", f"PYTHONPATH={PACKAGE_ROOT}", *member.argv("trace", "--summary")]
    process = member.lab.start(member.host, argv, "summary")
    try:
        for _ in range(20):
            dig(member, MARKER, "SRV")
        process.signal(signal.SIGINT)
        assert process.wait(5) == 0
    finally:
        process.stop(1)
    text = member.lab.log(member.host, "summary")
    assert "decisions" in text
    assert f"{MARKER} SRV" in text
    assert REVIEWS in text


def test_listeners_come_and_go_and_the_worker_tells_only_while_they_are_there(
    member: Agent,
) -> None:
    with listening(member, "first") as first, listening(member, "second") as second:
        dig(member, MARKER, "SRV", "-b10.77.0.10#45001")
        assert first.wait(source_port=45001) == second.wait(source_port=45001)
    status = cast("Tree", member.read("status")["dns"])
    worker = cast("int", status["worker_pid"])
    wait_until(lambda: not _diag_sockets(member, worker), "the worker to fall silent", 10)
    with listening(member, "third"):
        assert _diag_sockets(member, worker)


def _diag_sockets(agent: Agent, pid: int) -> list[str]:
    """The worker's sockets to the kernel's socket diagnosis: open while it tells."""
    rows = agent.lab.run(agent.host, ["cat", "/proc/net/netlink"]).stdout.splitlines()
    with_inode = {row.split()[9] for row in rows[1:] if row.split()[1] == "4"}
    script = f"readlink /proc/{pid}/fd/*"
    held = agent.lab.run(agent.host, ["sh", "-c", script], check=False).stdout.splitlines()
    return [name for name in held if name.removeprefix("socket:[").rstrip("]") in with_inode]


@pytest.mark.parametrize("member", ["nftables"], indirect=True)
def test_a_killed_listener_turns_everything_off(member: Agent) -> None:
    worker = cast("int", cast("Tree", member.read("status")["dns"])["worker_pid"])
    with listening(member, "killed") as trace:
        assert _diag_sockets(member, worker)
        trace.process.signal(signal.SIGKILL)
        wait_until(lambda: not _diag_sockets(member, worker), "the worker to fall silent", 10)
