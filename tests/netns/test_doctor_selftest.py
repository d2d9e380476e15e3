"""The doctor's self-tests, by the command: what they say, and that nothing of them is left."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from interceptor.host import command, probe
from interceptor.lab import removal
from interceptor.lab.removal import wait_until
from interceptor.lab.selftest import session, stage
from interceptor.lab.world import PACKAGE_ROOT, Lab, environment

pytestmark = pytest.mark.root

ARGV = (sys.executable, "-m", "interceptor", "doctor", "--only", "self-test")
BOUND = "bound device"


def left(pid: int) -> list[str]:
    """What this machine shows of the doctor that had this pid."""
    name = f"{removal.PREFIX}-{session.TOKEN}-{pid}"
    lines = [
        *command.run(["ip", "netns", "list"]).stdout.splitlines(),
        *(line for line in Path("/proc/self/mounts").read_text().splitlines()),
        *map(str, Path(probe.cgroup_mount()).iterdir()),
        *map(str, removal.NETNS_ETC.glob("*")),
        *map(str, removal.FOLDER.glob("*")),
    ]
    folder = str(removal.FOLDER / f"{session.TOKEN}-{pid}")
    return [line for line in lines if name in line or folder in line]


def start(*options: str) -> tuple[command.Process, Path]:
    """A doctor in the background, and the file that it prints to."""
    with tempfile.NamedTemporaryFile(delete=False) as file:
        argv = [*ARGV, *options]
        child = command.start(argv, stdout=file, stderr=file, env=environment())
    return child, Path(file.name)


def finish(child: command.Process, file: Path, timeout_s: float = 60) -> tuple[int, str]:
    """How a doctor ended, and what it has printed."""
    code = child.wait(timeout_s)
    child.close()
    text = file.read_text()
    file.unlink()
    assert code is not None, text
    return code, text


@pytest.mark.parametrize("backend", ["nftables", "iptables", "ebpf"])
def test_every_test_passes_here_and_nothing_is_left(backend: str, tmp_path: Path) -> None:
    config = tmp_path / "interceptor.yaml"
    config.write_text("{}")
    child, file = start("--backend", backend, "--json", "--config", str(config))
    code, text = finish(child, file)
    checks = {each["name"]: each for each in json.loads(text)["checks"]}
    assert len(checks) == session.COUNT
    odd = {name for name, each in checks.items() if each["state"] != "ok"}
    assert odd == (set() if backend == "ebpf" else {BOUND}), text
    if odd:
        assert "device" in checks[BOUND]["why"]
        assert checks[BOUND]["cure"].startswith("capture.backend: ebpf")
    assert all("took_s" in each for each in checks.values())
    assert code == 0
    assert not left(child.pid)


WITHOUT_US = """
from interceptor.lab.selftest import call, client, question
tests = {"name": question.mesh_name, "other": question.other_name, "stub": question.stub,
         "direct": call.direct, "stream": question.tcp_mesh_name}
client.run_all(tests, ipv6=True)
"""


def test_without_an_agent_the_same_tests_fail() -> None:
    with Lab.open(stage.describe(ipv6=True)) as lab:
        argv = [sys.executable, "-m", "interceptor.lab.selftest.server", "far"]
        lab.start("far", argv, "server", detached=True)
        wait_until(lambda: "ready" in lab.log("far", "server"), "the server")
        words = ["env", f"PYTHONPATH={PACKAGE_ROOT}", sys.executable, "-c", WITHOUT_US]
        lines = lab.run("vm", words).stdout.splitlines()
    found = {each["name"]: each for each in map(json.loads, lines)}
    assert {name: each["result"] for name, each in found.items()} == {
        "name": "failed",
        "other": "passed",
        "stub": "failed",
        "direct": "passed",
        "stream": "failed",
    }
    assert "the resolver answered" in found["name"]["detail"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_loses_patience_gets_what_was_found_and_nothing_is_left(
    number: signal.Signals,
) -> None:
    child, file = start("--backend", "iptables")
    wait_until(_stands(child.pid), "the stage", 30)
    child.signal(number)
    _, text = finish(child, file)
    assert "(interrupted)" in text, text
    assert not left(child.pid)


def test_what_a_killed_doctor_has_left_is_removed_by_the_next() -> None:
    child, file = start("--backend", "iptables")
    wait_until(_stands(child.pid), "the stage", 30)
    child.signal(signal.SIGKILL)
    finish(child, file)
    token = f"{session.TOKEN}-{child.pid}"
    try:
        assert left(child.pid)
        assert token in session.sweep()
        assert not left(child.pid)
    finally:
        removal.down(token)


def _stands(pid: int) -> Callable[[], bool]:
    """Whether a doctor's daemon is at work."""
    file = removal.FOLDER / f"{session.TOKEN}-{pid}" / "vm" / "agent.log"
    return lambda: file.exists() and file.stat().st_size > 0


def test_without_root_the_facts_are_told_and_no_test_is_made() -> None:
    argv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    keep = ["--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"]
    done = command.run([*argv, *keep, *ARGV, "--only", "process", "--json"], check=False)
    checks = {each["name"]: each for each in json.loads(done.stdout)["checks"]}
    assert "root" in checks["self-tests"]["seen"]
    assert checks["self-tests"]["cure"] == "sudo interceptor doctor"
    assert checks["user"]["seen"] == "uid 65534"
    assert os.geteuid() == 0
