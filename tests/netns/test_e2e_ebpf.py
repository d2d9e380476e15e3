"""What only the ebpf back end does: it goes on without its daemon, or lets go, as configured."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from interceptor.host import pin, tcx
from interceptor.host.layout import SPECS
from interceptor.lab import agent as lab_agent
from interceptor.lab import snapshot
from interceptor.lab.agent import Agent
from interceptor.lab.removal import wait_until
from interceptor.lab.world import Lab
from tests.netns import detach

pytestmark = [pytest.mark.root, pytest.mark.envoy]

NAME = "reviews.bookinfo.svc.cluster.local"
ASK = ("dig", "+short", "+tries=1", "+timeout=1")
FILTERS = ("tc", "filter", "show", "dev", "eth0", "egress")
TCX = ("python3", "-c", snapshot.TCX)
LINKS = "/sys/fs/bpf/interceptor/links/egress-*"


def dig(agent: Agent, name: str = NAME, *words: str) -> str:
    return agent.lab.run(agent.host, [*ASK, *words, name], check=False).stdout.strip()


def curl(agent: Agent) -> str:
    argv = ["curl", "--silent", "--max-time", "3", f"http://{NAME}:9080/"]
    return agent.lab.run(agent.host, argv, check=False).stdout


@pytest.fixture
def start() -> Iterator[Callable[..., Agent]]:
    """A maker of running agents; whatever is left of them goes."""
    started: list[Agent] = []

    def one(lab: Lab, **over: object) -> Agent:
        agent = lab_agent.prepare(lab, "vm", {"capture": {"backend": "ebpf"}, **over})
        # These stop and kill the daemon itself, and look at what the kernel does meanwhile.
        agent.start("--no-supervisor")
        started.append(agent)
        return agent

    yield one
    for agent in started:
        if agent.process is not None:
            agent.process.signal(signal.SIGCONT)
        agent.stop()


def test_a_killed_daemon_is_missed_by_nobody(lab: Lab, start: Callable[..., Agent]) -> None:
    agent = start(lab)
    agent.kill()
    assert dig(agent) == "10.96.0.11"
    assert dig(agent, "www.corp.example") == "10.77.0.61"
    assert dig(agent, "www.corp.example", "+tcp") == "10.77.0.61"
    assert curl(agent).startswith("reviews")
    agent.start()
    assert curl(agent).startswith("reviews")


def test_a_hung_daemon_loses_the_lease_where_that_is_wanted(
    lab: Lab, start: Callable[..., Agent]
) -> None:
    agent = start(lab, agent={"lease_s": 1, "on_agent_loss": "release"})
    assert agent.process is not None
    assert dig(agent) == "10.96.0.11"
    agent.process.signal(signal.SIGSTOP)
    wait_until(lambda: dig(agent) == "", "the end of the lease", 5)
    assert dig(agent, "www.corp.example") == "10.77.0.61"
    agent.process.signal(signal.SIGCONT)
    wait_until(lambda: dig(agent) == "10.96.0.11", "the lease again", 5)
    assert curl(agent).startswith("reviews")


def test_a_hung_daemon_is_trusted_by_default(lab: Lab, start: Callable[..., Agent]) -> None:
    agent = start(lab, agent={"lease_s": 1})
    assert agent.process is not None
    agent.process.signal(signal.SIGSTOP)
    with pytest.raises(lab_agent.LabFailed):
        wait_until(lambda: dig(agent) != "10.96.0.11", "a doubt", 3)
    assert curl(agent).startswith("reviews")


def test_a_link_that_somebody_detaches_is_put_back(lab: Lab, start: Callable[..., Agent]) -> None:
    agent = start(lab)
    before = lab.run("vm", TCX).stdout
    assert {line.split()[0] for line in before.splitlines()} == {"lo", "eth0"}
    assert lab.run("vm", FILTERS, check=False).stdout == ""
    lab.run("vm", [sys.executable, detach.__file__, LINKS])
    assert lab.run("vm", TCX).stdout == ""
    wait_until(lambda: lab.run("vm", TCX).stdout == before, "the links", 4)
    assert dig(agent) == "10.96.0.11"
    assert agent.read("status")["reasserted"] == {"filters": 1}


def test_a_filter_that_somebody_deletes_is_put_back(
    lab: Lab, start: Callable[..., Agent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(tcx.SWITCH, "no")
    agent = start(lab)
    before = lab.run("vm", FILTERS).stdout
    assert "interceptor_dns_egress" in before
    lab.run("vm", ["tc", "qdisc", "del", "dev", "eth0", "clsact"])
    assert lab.run("vm", FILTERS, check=False).stdout == ""
    wait_until(
        lambda: "interceptor_dns_egress" in lab.run("vm", FILTERS, check=False).stdout,
        "the filter",
        4,
    )
    assert dig(agent) == "10.96.0.11"
    assert agent.read("status")["reasserted"] == {"filters": 1}


def test_a_start_with_tcx_takes_over_from_clsact_and_no_name_is_missed(
    lab: Lab, start: Callable[..., Agent], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with an upgrade from a version that had only filters."""
    qdiscs = lab.run("vm", ["tc", "qdisc"]).stdout
    monkeypatch.setenv(tcx.SWITCH, "no")
    agent = start(lab)
    agent.kill()
    assert "interceptor_dns_egress" in lab.run("vm", FILTERS).stdout
    monkeypatch.delenv(tcx.SWITCH)
    asking = lab.start("vm", ["sh", "-uc", f"while :; do {' '.join(ASK)} {NAME}; done"], "asking")
    agent.start("--no-supervisor")
    wait_until(lambda: lab.run("vm", ["tc", "qdisc"]).stdout == qdiscs, "the end of clsact", 4)
    assert len(lab.run("vm", TCX).stdout.splitlines()) == 2
    asking.stop()
    answers = lab.log("vm", "asking").splitlines()
    assert set(answers) == {"10.96.0.11"}, answers
    assert len(answers) > 20


def test_an_uplink_that_appears_is_captured_too(lab: Lab, start: Callable[..., Agent]) -> None:
    agent = start(lab)
    script = (
        "ip link add late0 type veth peer name late1; ip addr add 198.51.100.2/24 dev late0;"
        "ip link set late0 up; ip link set late1 up;"
        # Nobody answers there, nor needs to: but a packet leaves only towards a known neighbour.
        "ip neigh replace 198.51.100.53 lladdr 02:00:00:00:00:53 dev late0 nud permanent"
    )
    lab.run("vm", ["sh", "-euc", script])
    wait_until(lambda: dig(agent, NAME, "@198.51.100.53") == "10.96.0.11", "its answer", 5)
    lab.run("vm", ["ip", "link", "del", "late0"])
    assert dig(agent) == "10.96.0.11"


def test_nothing_is_translated_or_tracked_for_a_captured_connection(
    lab: Lab, start: Callable[..., Agent]
) -> None:
    agent = start(lab)
    assert curl(agent).startswith("reviews")
    ruleset = lab.run("vm", ["nft", "list", "ruleset"]).stdout
    assert ruleset == ""
    for family in ("-4", "-6"):
        assert "15001" not in lab.run("vm", ["ip", family, "rule"]).stdout


def test_pins_that_are_removed_while_it_starts_are_back_before_it_is_ready(
    lab: Lab, start: Callable[..., Agent]
) -> None:
    agent = start(lab)
    agent.stop()
    lab.run("vm", ["sh", "-c", "rm -rf /sys/fs/bpf/interceptor"])
    agent.launch("--no-supervisor")
    last = pin.map_path(Path("/sys/fs/bpf/interceptor"), list(SPECS)[-1])
    lab.run("vm", ["sh", "-c", f"until [ -e {last} ]; do :; done; rm -r /sys/fs/bpf/interceptor"])
    agent.wait_ready(15)
    assert lab.run("vm", ["ls", str(last)]).stdout.strip() == str(last)
    assert dig(agent) == "10.96.0.11"
