"""The agent dies between any two of its steps: what it has written down and what it has done meet.

Each back end installs its plan in a child that is killed at its n-th step, for every n there is;
`clean` and `scripts/rescue` take turns in giving the host back.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from interceptor.capture import clean, fact, joined, journal
from interceptor.capture.backend import Choice
from interceptor.capture.ebpfstep import Sites
from interceptor.capture.journal import Journal
from interceptor.capture.plan import Plan, build
from interceptor.config import Config, parse
from interceptor.host import bpf, bpflink, cgroup, command, pin, tc
from interceptor.lab import snapshot
from interceptor.lab.snapshot import Snapshot

pytestmark = pytest.mark.root

ROOT = Path(__file__).parents[2]
LINKS = """
sysctl -qw net.ipv6.conf.default.accept_dad=0
ip link add v0 type veth peer name v1; ip link set v0 up; ip link set v1 up
ip address add 192.0.2.10/24 dev v0; ip route add default via 192.0.2.1
ip -6 address add 2001:db8::10/64 dev v0 nodad; ip -6 route add default via 2001:db8::1
iptables-legacy -t mangle -L >/dev/null; iptables-nft -A INPUT -p tcp --dport 22 -j ACCEPT
"""
CHOICES = {
    "iptables": Choice("iptables", "iptables", "nft", True),
    "nftables": Choice("nftables", "nftables", "nft", True, queue_by_iptables=True),
    "ebpf": Choice("ebpf", "ebpf"),
}
OF_THE_MACHINE = ("pins", "cgroups")
MOST = 120


@dataclass
class Place:
    """A host to install on: its namespace, and the back end's own sites."""

    space: Any
    sites: Sites
    run_dir: Path

    def observe(self) -> Snapshot:
        run = lambda argv: self.space.call(command.run, argv)  # noqa: E731
        found = dict(snapshot.observe_by(run))
        for title in OF_THE_MACHINE:
            del found[title]
        found["our pins"] = "\n".join(sorted(map(str, self.sites.bpf_dir.rglob("*"))))
        return found


@pytest.fixture
def place(namespaces: Callable[[str], Any], tmp_path: Path) -> Iterator[Place]:
    space = namespaces("crash")
    space.sh(LINKS)
    mount = tmp_path / "bpf"
    pin.prepare(mount)
    captured = cgroup.folder(f"itest-crash-{os.getpid()}")
    cgroup.create(captured)
    try:
        sites = Sites(mount / "interceptor", captured, captured / "interceptor", confines=True)
        yield Place(space, sites, tmp_path / "run")
    finally:
        cgroup.remove(captured / "interceptor")
        cgroup.remove(captured)
        command.run(["umount", str(mount)])


class Countdown:
    """Kills this process before the n-th call of what it is laid over."""

    def __init__(self, left: int) -> None:
        self.left = left

    def step(self) -> None:
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1

    def over(self, holder: Any, name: str) -> None:
        inner = getattr(holder, name)

        def run(*arguments: Any, **named: Any) -> Any:
            self.step()
            return inner(*arguments, **named)

        setattr(holder, name, run)


def arm(count: int) -> None:
    """Lay the countdown over all that writes the journal or changes the host."""
    countdown = Countdown(count)
    for holder, name in (
        (Journal, "_record"),
        (journal, "run"),
        (bpf, "pin"),
        (bpflink, "create"),
        (tc, "attach"),
        (cgroup, "create"),
    ):
        countdown.over(holder, name)


def config() -> Config:
    inbound = "{mode: tproxy, ports: [8080]}"
    return parse(f"capture: {{inbound: {inbound}, outbound: {{cidrs: [10.0.0.0/8]}}}}")


def plan_for(place: Place, choice: Choice) -> Plan:
    wanted = config()
    if choice.tcp == "ebpf":
        wanted = parse("capture: {inbound: {ports: [8080]}, outbound: {cidrs: [10.0.0.0/8]}}")
    return build(wanted, place.space.call(fact.facts, wanted))


def install(place: Place, choice: Choice, plan: Plan, count: int) -> bool:
    """In a child of its own; whether it came to its end before its ``count``-th step."""

    def body() -> int:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                arm(count)
                backend = joined.build(choice, Journal(place.run_dir / "journal"), place.sites)
                backend.apply(plan)
                code = 0
            finally:
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    code: int = place.space.call(body)
    assert code in (0, -signal.SIGKILL), "it failed by itself"
    return code == 0


def give_back(place: Place, turn: int) -> None:
    if turn % 2:
        names = f"INTERCEPTOR_BPF_DIR={place.sites.bpf_dir} INTERCEPTOR_RUN_DIR={place.run_dir}"
        place.space.sh(f"{names} {ROOT}/scripts/rescue")
    else:
        place.space.call(clean.revert, Journal(place.run_dir / "journal"), place.sites.bpf_dir)
    cgroup.remove(place.sites.agent)  # clean_host's, which knows the configuration


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", CHOICES)
def test_a_crash_at_any_step_can_be_undone(place: Place, name: str) -> None:
    choice = CHOICES[name]
    plan = plan_for(place, choice)
    before = place.observe()
    written = 0
    for count in range(MOST):
        done = install(place, choice, plan, count)
        written += (place.run_dir / "journal").exists()
        give_back(place, count)
        left = snapshot.diff(before, place.observe())
        assert left == "", f"killed at step {count}:\n{left}"
        assert not (place.run_dir / "journal").exists()
        if done:
            break
    else:
        raise AssertionError(f"it takes more than {MOST} steps")
    print(f"{name}: {count} steps, {written} of them with a journal")
    assert count > 10
    assert written > count // 2


@pytest.mark.parametrize("name", CHOICES)
def test_the_journal_alone_undoes_what_was_done(place: Place, name: str) -> None:
    """Without the search for our name: the inverses are true."""
    choice = CHOICES[name]
    plan, before = plan_for(place, choice), place.observe()
    assert install(place, choice, plan, MOST)
    place.space.call(Journal(place.run_dir / "journal").replay)
    found = snapshot.diff(before, place.observe())
    for ours in ("-j INTERCEPTOR", "table inet interceptor", "proto 157", "dns_egress"):
        assert ours not in found
    give_back(place, 0)
    assert snapshot.diff(before, place.observe()) == ""


@pytest.mark.parametrize("damage", ["cut short", "noise", "of another boot", "other words"])
def test_a_journal_that_is_no_journal_does_no_harm(place: Place, damage: str) -> None:
    choice = CHOICES["nftables"]
    plan, before = plan_for(place, choice), place.observe()
    assert install(place, choice, plan, MOST)
    path = place.run_dir / "journal"
    text = path.read_bytes()
    path.write_bytes(
        {
            "cut short": text[: len(text) * 2 // 3],
            "noise": bytes(range(256)) * 20 + text,
            "of another boot": text.replace(b"interceptor", b"yesterday"),
            "other words": b'{"why": "", "undo": [[[5], null], [[], null], ["x", 7]]}\n'
            b'{"undo": [[["touch", "/tmp/a\\u0000b"], null]]}\n[]\n7\n"x"\n' + text,
        }[damage]
    )
    give_back(place, 0)
    assert snapshot.diff(before, place.observe()) == ""
