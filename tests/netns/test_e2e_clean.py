"""A host is after us what it was before us, byte for byte, with other people's rules on it."""

from __future__ import annotations

import signal

import pytest

from interceptor.lab import agent as lab_agent
from interceptor.lab import snapshot
from interceptor.lab.agent import Agent
from interceptor.lab.removal import wait_until
from interceptor.lab.snapshot import Snapshot
from interceptor.lab.world import Lab

pytestmark = [pytest.mark.root, pytest.mark.envoy]

NEIGHBOURS = (
    "iptables -A INPUT -p tcp --dport 2222 -j DROP -m comment --comment mine",
    "iptables -t nat -A OUTPUT -p tcp --dport 7777 -j REDIRECT --to-ports 7778",
    "iptables -t nat -N THEIRS",
    "iptables -t mangle -A PREROUTING -p udp --dport 9 -j MARK --set-mark 9",
    "ip6tables -A OUTPUT -p udp --dport 9 -j DROP",
    "ipset create theirs hash:net",
    "ipset add theirs 198.51.100.0/24",
    "iptables -A OUTPUT -m set --match-set theirs dst -j DROP",
    "nft add table inet theirs",
    "nft add chain inet theirs out { type filter hook output priority 0 ; }",
    "nft add rule inet theirs out udp dport 9 drop",
    "ip rule add fwmark 0x99 lookup 99",
    "ip route add 203.0.113.0/24 dev eth0 table 99",
    "ip route add 198.51.100.0/24 dev eth0",
    "ip -6 rule add fwmark 0x99 lookup 99",
)


def add_neighbours(lab: Lab, host: str) -> None:
    for line in NEIGHBOURS:
        lab.run(host, line.split())


def member_of(lab: Lab, backend: str, mode: str = "redirect") -> Agent:
    inbound = {"mode": mode, "ports": [8080]}
    return lab_agent.prepare(lab, "vm", {"capture": {"backend": backend, "inbound": inbound}})


def processes(lab: Lab, host: str) -> list[int]:
    return lab.pids(host)


@pytest.fixture(params=["nftables", "ebpf"])
def backend(request: pytest.FixtureRequest) -> str:
    assert isinstance(request.param, str)
    return request.param


@pytest.fixture(
    # The chaos suite and tests/systemd have more of these in the gate.
    params=[False, pytest.param(True, marks=pytest.mark.long)],
    ids=["alone", "among neighbours"],
)
def before(request: pytest.FixtureRequest, lab: Lab) -> Snapshot:
    if request.param:
        add_neighbours(lab, "vm")
    return snapshot.observe(lab, "vm")


def test_a_clean_stop_leaves_the_host_byte_identical(
    lab: Lab, backend: str, before: Snapshot
) -> None:
    agent = member_of(lab, backend)
    agent.start()
    assert snapshot.diff(before, snapshot.observe(lab, "vm")), "nothing was installed"
    assert agent.stop() == 0, agent.log()
    assert snapshot.diff(before, snapshot.observe(lab, "vm")) == ""


def test_an_interrupt_is_a_clean_stop_too(lab: Lab) -> None:
    before = snapshot.observe(lab, "vm")
    agent = member_of(lab, "auto")
    agent.start()
    assert agent.process is not None
    agent.process.signal(signal.SIGINT)
    assert agent.process.wait(20) == 0, agent.log()
    assert snapshot.diff(before, snapshot.observe(lab, "vm")) == ""


@pytest.mark.parametrize("backend", ["iptables", "nftables"])
def test_tproxy_is_undone_too(lab: Lab, backend: str, before: Snapshot) -> None:
    agent = member_of(lab, backend, "tproxy")
    agent.start()
    assert "fwmark" in snapshot.diff(before, snapshot.observe(lab, "vm"))
    assert agent.stop() == 0
    assert snapshot.diff(before, snapshot.observe(lab, "vm")) == ""


def test_clean_after_a_kill_needs_no_daemon_and_leaves_no_process(
    lab: Lab, backend: str, before: Snapshot
) -> None:
    agent = member_of(lab, backend)
    agent.start()
    agent.kill()
    assert snapshot.diff(before, snapshot.observe(lab, "vm")), "a kill is not a clean stop"
    agent.run("clean")
    assert snapshot.diff(before, snapshot.observe(lab, "vm")) == ""
    wait_until(lambda: not processes(lab, "vm"), "the end of every process")


def test_clean_needs_no_configuration(lab: Lab, backend: str, before: Snapshot) -> None:
    agent = member_of(lab, backend)
    agent.start()
    agent.kill()
    lab.run(
        "vm",
        ["env", f"PYTHONPATH={lab_agent.PACKAGE_ROOT}", *lab_agent.interceptor_argv(), "clean"],
    )
    # In a run directory that nobody tells of, Envoy is not found: it lives on in its cgroup.
    found = {title: text for title, text in before.items() if title != "cgroups"}
    assert snapshot.diff(found, snapshot.observe(lab, "vm")) == ""


def test_apply_twice_changes_nothing_and_clean_takes_it_back(
    lab: Lab, backend: str, before: Snapshot
) -> None:
    agent = member_of(lab, backend)
    agent.run("apply")
    once = snapshot.observe(lab, "vm")
    agent.run("apply")
    assert snapshot.diff(once, snapshot.observe(lab, "vm")) == ""
    assert snapshot.diff(before, once)
    agent.run("clean")
    agent.run("clean")
    assert snapshot.diff(before, snapshot.observe(lab, "vm")) == ""


def test_plan_diff_tells_whether_the_host_follows_the_plan(lab: Lab, backend: str) -> None:
    agent = member_of(lab, backend)
    assert agent.run("plan", "--diff", check=False).code == 4
    agent.run("apply")
    assert agent.run("plan", "--diff", check=False).code == 0
    agent.run("clean")
    assert agent.run("plan", "--diff", check=False).code == 4


def test_run_with_confirm_takes_everything_back_when_nobody_confirms(
    lab: Lab, backend: str, before: Snapshot
) -> None:
    agent = member_of(lab, backend)
    agent.start("--confirm", "2s")
    assert agent.process is not None
    wait_until(
        lambda: snapshot.diff(before, snapshot.observe(lab, "vm")) == "", "everything back", 10
    )


def test_an_envoy_that_was_started_but_not_recorded_is_ended_by_the_next(lab: Lab) -> None:
    agent = member_of(lab, "auto")
    agent.start()
    agent.kill()
    record = lab.host_folder("vm") / "run" / "sidecar.pid"
    record.unlink()
    agent.start()
    agent.kill()
    record.unlink()
    agent.run("clean")
    wait_until(lambda: not lab.pids("vm"), "the end of every process", 5)
