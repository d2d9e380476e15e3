"""The lab itself: its hosts reach each other in both families, and nothing of it stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from interceptor.errors import InterceptorError
from interceptor.lab import removal, world
from interceptor.lab.world import Lab, environment

pytestmark = pytest.mark.root


def traces(token: str) -> list[str]:
    """Everything on this machine that bears the lab's name."""
    namespaces = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
    found = [line for line in namespaces.splitlines() if token in line]
    for folder in (Path("/etc/netns"), Path("/run/netns"), removal.FOLDER):
        found += [str(path) for path in folder.glob(f"*{token}*")]
    for command_line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = command_line.read_text()
        except OSError:
            continue
        if token in text:
            found.append(text)
    return found


@pytest.mark.parametrize("url", ["http://10.77.0.41:9080/", "http://[fd77::41]:9080/"])
def test_a_backend_answers_in_both_families(module_lab: Lab, url: str) -> None:
    assert module_lab.run("vm", ["curl", "-s", "-m", "5", url]).stdout == "reviews-v1\n"


def test_names_are_resolved_by_the_labs_own_server(module_lab: Lab) -> None:
    got = module_lab.run("vm", ["getent", "ahostsv4", "www.corp.example"]).stdout
    assert got.split()[0] == "10.77.0.61"
    assert "query[A] www.corp.example from 10.77.0.10" in module_lab.log("dns", "dnsmasq")


def test_names_of_nobody_are_nxdomain(module_lab: Lab) -> None:
    got = module_lab.run("vm", ["dig", "+noall", "+comments", "nobody.example"]).stdout
    assert "status: NXDOMAIN" in got


def test_a_long_answer_comes_over_tcp(module_lab: Lab) -> None:
    argv = ["dig", "+noedns", "+ignore", "+noall", "+comments", "big.corp.example", "TXT"]
    assert "tc" in module_lab.run("vm", argv).stdout.split("flags:")[1].split(";")[0].split()
    whole = module_lab.run("vm", ["dig", "+noedns", "+short", "big.corp.example", "TXT"]).stdout
    assert whole.count("part-") == 6


def test_the_second_vms_application_speaks_first(module_lab: Lab) -> None:
    code = "import socket; s = socket.create_connection(('10.77.0.20', 3306), 5); print(s.recv(99))"
    got = module_lab.run("vm", ["/usr/bin/python3", "-c", code]).stdout
    assert got.startswith("b'mysql-vm2 ready, you are 10.77.0.10")


def test_two_labs_stand_side_by_side(module_lab: Lab) -> None:
    with Lab.open() as other:
        assert other.token != module_lab.token
        for each in (module_lab, other):
            assert each.run("vm2", ["curl", "-s", "http://10.77.0.51:9080/"]).stdout == (
                "reviews-v2\n"
            )


def test_nothing_stays_of_a_closed_lab_and_closing_again_is_no_harm() -> None:
    lab = Lab.open()
    assert traces(lab.token)
    lab.start("vm", ["sleep", "60"], "sleep")
    lab.close()
    lab.close()
    assert traces(lab.token) == []


def test_nothing_stays_of_a_lab_that_fails_half_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "_batch", _fail)
    with pytest.raises(InterceptorError):
        Lab.open(token="halfway")
    assert traces("halfway") == []


def _fail(namespace: str, lines: str) -> None:
    raise InterceptorError("no such thing")


def test_a_lab_of_that_name_is_not_built_twice(module_lab: Lab) -> None:
    with pytest.raises(InterceptorError, match="there is a lab"):
        Lab.open(token=module_lab.token)
    assert module_lab.run("vm", ["true"])


def test_a_lab_whose_owner_was_killed_is_found_and_removed() -> None:
    code = (
        "import time; from interceptor.lab.world import Lab; "
        "lab = Lab.open(); print(lab.token, flush=True); time.sleep(60)"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment()
    )
    assert owner.stdout is not None
    with owner, owner.stdout:
        token = owner.stdout.readline().strip()
        os.kill(owner.pid, signal.SIGKILL)
    end = time.monotonic() + 5
    while token not in removal.down_orphans() and time.monotonic() < end:
        time.sleep(0.05)
    assert traces(token) == []


def test_a_lab_that_stays_up_is_no_orphan_and_is_used_by_name() -> None:
    lab = Lab.open(stays_up=True)
    try:
        assert lab.token not in removal.down_orphans()
        attached = Lab.attach(lab.token)
        assert attached.run("vm", ["cat", "/etc/resolv.conf"]).stdout.startswith("nameserver")
    finally:
        lab.close()
    with pytest.raises(InterceptorError, match="there is no lab"):
        Lab.attach(lab.token)
