"""`run --confirm`: nobody is locked out, whatever becomes of the daemon meanwhile."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import time
from pathlib import Path

import pytest

from interceptor.host import fuse
from interceptor.lab import agent as lab_agent
from interceptor.lab import snapshot
from interceptor.lab.agent import Agent
from interceptor.lab.removal import wait_until
from interceptor.lab.snapshot import Snapshot
from interceptor.lab.world import Lab, environment

pytestmark = pytest.mark.root

PLAIN = {
    "capture": {"backend": "nftables"},
    "sidecar": {"mode": "external"},
    "agent": {"on_sidecar_loss": "bypass", "drain_s": 0},
}


@pytest.fixture
def agent(lab: Lab) -> Agent:
    return lab_agent.prepare(lab, "vm", PLAIN)


@pytest.fixture
def before(lab: Lab) -> Snapshot:
    return snapshot.observe(lab, "vm")


def is_captured(lab: Lab, before: Snapshot) -> bool:
    return bool(snapshot.diff(before, snapshot.observe(lab, "vm")))


def expect_all_back(lab: Lab, before: Snapshot, limit_s: float) -> None:
    wait_until(lambda: not is_captured(lab, before), "everything back", limit_s)
    wait_until(lambda: not lab.pids("vm"), "the end of every process", 10)


def fuses(lab: Lab) -> list[str]:
    return [path.name for path in (lab.host_folder("vm") / "run").glob(fuse.PATTERN)]


@pytest.mark.parametrize("options", [(), ("--no-supervisor",)], ids=["supervised", "alone"])
def test_a_daemon_that_is_killed_before_its_confirmation_leaves_nothing(
    lab: Lab, before: Snapshot, agent: Agent, options: tuple[str, ...]
) -> None:
    agent.start("--confirm", "600s", *options)
    assert is_captured(lab, before)
    assert len(fuses(lab)) == 1
    agent.kill()
    expect_all_back(lab, before, 20)
    assert fuses(lab) == []


def test_one_that_hangs_with_its_supervisor_is_ended_when_the_time_is_up(
    lab: Lab, before: Snapshot, agent: Agent
) -> None:
    agent.start("--confirm", "2s")
    assert is_captured(lab, before)
    for pid in lab.pids("vm"):
        command_line = Path(f"/proc/{pid}/cmdline").read_text()
        if "interceptor" in command_line and fuse.__name__ not in command_line:
            os.kill(pid, signal.SIGSTOP)
    expect_all_back(lab, before, 2 + fuse.GRACE_S + 20)


def test_a_confirmation_over_the_control_socket_lets_it_stay(
    lab: Lab, before: Snapshot, agent: Agent
) -> None:
    agent.start("--confirm", "600s")
    assert agent.run("confirm").stdout == "confirmed\n"
    wait_until(lambda: fuses(lab) == [], "the fuse put out")
    assert agent.run("confirm").stdout == "nothing waits for a confirmation\n"
    agent.kill()
    time.sleep(1)  # a fuse that burnt still would have begun by then
    assert is_captured(lab, before)
    agent.run("clean")
    expect_all_back(lab, before, 10)


def test_enter_on_a_terminal_lets_it_stay(lab: Lab, before: Snapshot, agent: Agent) -> None:
    ours, theirs = pty.openpty()
    argv = lab.argv("vm", agent.argv("run", "--confirm", "600s"))
    quiet = {"stdout": theirs, "stderr": theirs}
    with subprocess.Popen(
        argv, stdin=theirs, env=environment(), start_new_session=True, **quiet
    ) as child:
        try:
            os.close(theirs)
            wait_until(lambda: is_captured(lab, before), "the rules", 30)
            wait_until(lambda: b"press Enter" in os.read(ours, 65536), "the question", 30)
            assert len(fuses(lab)) == 1
            os.write(ours, b"\n")
            wait_until(lambda: fuses(lab) == [], "the fuse put out")
            assert is_captured(lab, before)
        finally:
            child.terminate()
            child.wait(20)
            os.close(ours)
    expect_all_back(lab, before, 20)


def test_without_a_confirmation_all_is_back_and_the_exit_code_says_so(
    lab: Lab, before: Snapshot, agent: Agent
) -> None:
    agent.start("--confirm", "1s")
    assert agent.process is not None
    assert agent.process.wait(20) == 1, agent.log()
    expect_all_back(lab, before, 20)
    assert fuses(lab) == []
