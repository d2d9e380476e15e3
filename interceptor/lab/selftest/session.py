"""Puts the stage of the self-tests up, runs them, and takes everything down again.

What a doctor that was killed has left is known by its lab's name and removed by the next.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from interceptor.errors import InterceptorError
from interceptor.host import command, probe
from interceptor.lab import agent, removal
from interceptor.lab.agent import Agent
from interceptor.lab.removal import LabFailed, wait_until
from interceptor.lab.selftest import stage
from interceptor.lab.selftest.client import ON_FAR, ON_VM
from interceptor.lab.selftest.outcome import Outcome, decode
from interceptor.lab.world import Lab, environment

TOKEN = "doctor"
READY_S, TESTS_S = 30.0, 10.0
START, CLEAN = "the daemon starts", "a clean stop leaves nothing"
COUNT = len(ON_VM) + len(ON_FAR) + 2
"""How many outcomes `run` gives."""
SHOW = """
nft list ruleset; ip rule; ip -6 rule; ip route show table all; ip -6 route show table all
ip -o address; tc qdisc show; find /sys/fs/bpf
"""


def sweep() -> tuple[str, ...]:
    """Remove what doctors have left that are no more. Returns the labs' names."""
    left = [
        lab.token
        for lab in removal.list_labs()
        if lab.is_orphan and lab.token.startswith(f"{TOKEN}-")
    ]
    for token in left:
        removal.down(token)
    return tuple(left)


def run(tcp: str, dns: str) -> Iterator[Outcome]:
    """The outcome of each test with these back ends of TCP and DNS, as it comes. Needs root.

    Whoever stops reading closes the iterator, which takes the stage down. Raises LabFailed or
    CommandFailed where there can be no stage.
    """
    sweep()
    ipv6 = Path("/proc/sys/net/ipv6").exists()
    with Lab.open(stage.describe(ipv6=ipv6), f"{TOKEN}-{os.getpid()}") as lab:
        one = _prepare(lab, tcp, dns)
        before = _show(lab)
        began_s = time.monotonic()
        try:
            one.start(timeout_s=READY_S)
        except InterceptorError as error:
            yield Outcome(START, "failed", _last(one, error), time.monotonic() - began_s)
            return
        yield Outcome(START, "passed", f"{tcp}, DNS by {dns}", time.monotonic() - began_s)
        yield from _listen(lab, "vm", len(ON_VM))
        yield from _listen(lab, "far", len(ON_FAR))
        yield _stop(lab, one, before)


def _prepare(lab: Lab, tcp: str, dns: str) -> Agent:
    """Servers that listen, and a daemon that is not started."""
    mount = Path(probe.cgroup_mount())
    place = removal.cgroup(lab.token, "vm") / "agent"
    place.mkdir()
    module = "interceptor.lab.selftest.server"
    lab.start("far", [sys.executable, "-P", "-m", module, "far"], "server", detached=True)
    argv = [sys.executable, "-P", "-m", module, "recorder", str(place)]
    lab.start("vm", argv, "recorder", detached=True)
    mesh = lab.folder / "mesh"
    mesh.mkdir()
    for number, document in enumerate(stage.documents()):
        (mesh / f"{number}.json").write_text(json.dumps(document))
    over = stage.settings(tcp, dns, f"/{place.relative_to(mount)}")
    one = agent.prepare(lab, "vm", over, mesh)
    for host, log in (("far", "server"), ("vm", "recorder")):
        wait_until(lambda h=host, n=log: "ready" in lab.log(h, n), f"{log} on {host}", 5)  # type: ignore[misc]
    return one


def _last(one: Agent, error: InterceptorError) -> str:
    """The last line of the daemon's log that is an error, else the error itself."""
    lines = [line for line in one.log().splitlines() if '"error"' in line or "error:" in line]
    return lines[-1] if lines else str(error).splitlines()[0]


def _show(lab: Lab) -> list[str]:
    """The VM's rules, routes, addresses and pins, in one order."""
    text = lab.run("vm", ["sh", "-c", SHOW], check=False).stdout
    return sorted(text.splitlines())


def _listen(lab: Lab, host: str, count: int) -> Iterator[Outcome]:
    """Run the tests of a host. Raises LabFailed where they do not end."""
    argv = [sys.executable, "-P", "-m", "interceptor.lab.selftest.client", host]
    read_end, write_end = os.pipe()
    try:
        child = command.start(lab.argv(host, argv), stdout=write_end, env=environment())
    finally:
        os.close(write_end)
    try:
        lines = _lines(read_end)
        for _ in range(count):
            line = next(lines, "")
            if not line:
                raise LabFailed(f"the tests on {host} did not end: {child.wait(1)}")
            yield decode(line)
    finally:
        os.close(read_end)
        child.stop(0.5)


def _lines(descriptor: int) -> Iterator[str]:
    """Lines as they come, until their end or until nothing came for `TESTS_S`."""
    data = b""
    while select.select([descriptor], [], [], TESTS_S)[0]:
        more = os.read(descriptor, 4096)
        if not more:
            return
        *whole, data = (data + more).split(b"\n")
        yield from (line.decode() for line in whole)


def _stop(lab: Lab, one: Agent, before: list[str]) -> Outcome:
    began_s = time.monotonic()
    code = one.stop()
    took_s = time.monotonic() - began_s
    left = _show(lab)
    for line in before:
        with suppress(ValueError):
            left.remove(line)
    if code == 0 and not left:
        return Outcome(CLEAN, "passed", "rules, routes and programs are as before", took_s)
    said = f"left: {left[0]}" if left else f"it ended with {code}"
    return Outcome(CLEAN, "failed", said, took_s)
