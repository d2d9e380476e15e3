"""What happens while the sidecar or the agent is away, and after it is back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from interceptor.lab.removal import wait_until
from tests.contract.conformance import connection
from tests.contract.conformance.case import Case, Group
from tests.contract.conformance.connection import IPPROTO_MPTCP, Dial
from tests.contract.conformance.stage import Stage
from tests.contract.conformance.world import ENDPOINT, ONE, POD, SERVERS, VIPS, VM, WWW

SOON_S = 1.0  # well below the first retransmission of a SYN, and Envoy's own patience


def refused(stage: Stage) -> None:
    for address in (*VIPS[ONE], *POD):
        for how in (Dial(), Dial(is_blocking=False), Dial(protocol=IPPROTO_MPTCP)):
            seen = stage.dial(address, how=how)
            assert (seen.way, seen.took_s < SOON_S) == ("ECONNREFUSED", True), (address, seen)
    for address in ENDPOINT:
        assert stage.dial(address).way == "direct"


def refused_inbound(stage: Stage) -> None:
    for address in VM:
        seen = stage.dial(address, 3306, host="peer")
        assert (seen.way, seen.took_s < SOON_S) == ("ECONNREFUSED", True), seen
        assert stage.dial(address, 8000, host="peer").way == "direct"


def bypassed(stage: Stage) -> None:
    for address in POD:
        seen = stage.dial(address)
        assert (seen.way, seen.peer) == ("direct", (address, 7000)), seen
    for address in VM:
        assert stage.dial(address, 3306, host="peer").way == "direct"


def lost(stage: Stage, way: str) -> None:
    """Assert what happens while a managed sidecar that has died will not start again."""
    assert stage.dial(POD[0]).way == "sidecar"
    with stage.without_sidecar():
        for address in POD:
            wait_until(lambda address=address: stage.dial(address).way == way, way, 10)  # type: ignore[misc]
        for address in VM:
            assert stage.dial(address, 3306, host="peer").way == way
        assert stage.addresses(SERVERS[0], ONE) == [VIPS[ONE][0]]
    wait_until(lambda: stage.dial(POD[0]).way == "sidecar", "the sidecar's return", 30)


def lost_reject(stage: Stage) -> None:
    lost(stage, "ECONNREFUSED")


def lost_bypass(stage: Stage) -> None:
    lost(stage, "direct")


def kept(stage: Stage, address: str, way: Callable[[], None]) -> None:
    """Assert that a connection to ``address`` that is open lives through something."""
    name = f"kept-{len(list(stage.lab.host_folder('vm').glob('kept-*.log')))}"
    go = Path(stage.lab.folder, name)
    argv = [sys.executable, "-c", connection.KEPT, address, "7000", str(go)]
    process = stage.lab.start("vm", argv, name)
    wait_until(lambda: "open" in stage.lab.log("vm", name), "a connection", 5)
    way()
    go.touch()
    process.wait(5)
    assert stage.lab.log("vm", name).split() == ["open", "still"]


def survives(stage: Stage) -> None:
    agent = stage.running()

    def killed() -> None:
        agent.kill()
        assert stage.dial(VIPS[ONE][0]).way == "sidecar"
        agent.start()

    for vip in VIPS[ONE]:
        kept(stage, vip, killed)
        assert stage.dial(vip).way == "sidecar"


def has_worker(stage: Stage) -> bool:
    """Whether the DNS worker is there: it answers what has waited, and ends then."""
    files = (Path(f"/proc/{pid}/cmdline") for pid in stage.lab.pids("vm"))
    return any(b"interceptor.dns.worker" in file.read_bytes() for file in files if file.exists())


def answers(stage: Stage) -> None:
    """While there is no agent at all, until it is back."""
    agent = stage.running()
    agent.kill()
    try:
        wait_until(lambda: not has_worker(stage), "the worker's end", 10)
        for number, server in enumerate(SERVERS):
            assert stage.addresses(server, "www.corp.example") == [WWW[number]]
        for number, server in enumerate(SERVERS):
            found = stage.addresses(server, ONE)
            assert found == [VIPS[ONE][number]], f"got {found}"
    finally:
        agent.start()


def older(stage: Stage) -> None:
    agent = stage.running()
    agent.stop()
    try:
        kept(stage, POD[0], agent.start)
    finally:
        if agent.process is None:
            agent.start()
    assert stage.dial(POD[0]).way == "sidecar"


CASES = (
    Case("no external sidecar, reject: refused at once", Group.LOSS, refused, "away"),
    Case("no external sidecar, reject: inbound too", Group.LOSS, refused_inbound, "away"),
    Case("no external sidecar, bypass: both go direct", Group.LOSS, bypassed, "away bypass"),
    Case("sidecar dies, reject: refused until it is back", Group.LOSS, lost_reject),
    Case("sidecar dies, bypass: direct until it is back", Group.LOSS, lost_bypass, "bypass"),
    Case("agent dies: calls and open connections go on", Group.LOSS, survives),
    Case("agent dies: names of others and of the mesh go on", Group.LOSS, answers),
    Case("a connection older than capture goes on", Group.LOSS, older),
)
