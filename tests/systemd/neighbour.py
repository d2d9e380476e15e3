"""A firewall on a machine, what is done to it, and what has to hold beside our agent."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

import yaml

from interceptor.host import command
from interceptor.lab import service, snapshot
from interceptor.lab.description import Served
from interceptor.lab.removal import wait_until
from interceptor.lab.snapshot import Snapshot
from interceptor.lab.world import environment
from tests.systemd import load
from tests.systemd.load import MESH, MESH_ADDRESS, OTHER, OTHER_ADDRESS, Load
from tests.systemd.machine import UNIT, Image, Machine, settings

AFTER_S = 0.7  # the load goes on for so long after an event: a flush is noticed and mended
RULES = (
    *("iptables-save", "ip6tables-save", "iptables-legacy-save", "ip6tables-legacy-save"),
    *("nft list ruleset", "ip rule", "ip -6 rule", "ip route show table all"),
    *("ip -6 route show table all", "ipset list", "tc qdisc and tc filter", "pins"),
)
"""Of a snapshot; cgroups come and go with systemd's units."""
COUNTER = re.compile(r"counter packets \d+ bytes \d+")

CHECKS: Mapping[str, tuple[str, str]] = {
    "mesh name": (f"dig +short +time=1 +tries=1 {MESH}", MESH_ADDRESS),
    "mesh name over TCP": (f"dig +short +tcp +time=1 +tries=1 {MESH}", MESH_ADDRESS),
    # These addresses have no host: only the sidecar answers for them.
    "captured": (f"curl -s -4 -m 2 http://{MESH}:9080/", "reviews-v"),
    "captured, IPv6": ("curl -s -m 2 http://[fd96::11]:9080/", "reviews-v"),
    "other name": (f"dig +short +time=1 +tries=1 {OTHER}", OTHER_ADDRESS),
    "other host": (f"curl -s -4 -m 2 http://{OTHER}/", OTHER),
    "other host, IPv6": (f"curl -s -6 -m 2 http://{OTHER}/", OTHER),
}


OWN = "10.77.0.10"
PORT = 8080
"""Captured inbound; `serve` makes somebody listen there."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """``prepare`` sets it up and starts it. ``events`` are what happens to it, in this order:
    what it is after the last one is what it was before the first."""

    prepare: str
    events: Mapping[str, str]


@dataclass(slots=True)
class Scene:
    """A machine with a neighbour that has gone through its events without us, and then rests.

    ``rules``: what the host showed after that. ``is_queued``: a process of ours is asked for names.
    """

    machine: Machine
    neighbour: Neighbour
    rules: Snapshot
    is_queued: bool = False

    @classmethod
    def open(cls, image: Image, neighbour: Neighbour) -> Scene:
        machine = Machine.open(image)
        try:
            load.open_control(machine)
            for script in (neighbour.prepare, *neighbour.events.values()):
                machine.sh(script)
            return cls(machine, neighbour, rules(machine))
        except BaseException:
            machine.close()
            raise

    def start_agent(self, backend: str, mode: str = "redirect") -> None:
        """With a back end of one's choice, and with the patience of one that has not fought."""
        over = {"capture": {"backend": backend, "inbound": {"mode": mode, "ports": [PORT]}}}
        self.machine.write(
            "/etc/interceptor/interceptor.yaml", yaml.safe_dump(settings(self.machine.lab, over))
        )
        self.machine.systemctl("restart", UNIT)
        self.is_queued = backend != "ebpf"

    def play(self, event: str) -> Load:
        """An event under load, judged."""
        with load.applied(self.machine) as found:
            time.sleep(0.2)
            self.machine.sh(self.neighbour.events[event])
            time.sleep(AFTER_S)
        told = f"{event}: {found.asked(OTHER)} asked, lost {len(found.lost())} by us and "
        told += f"{found.lost_to_others()} by others; mesh name away for {found.gap_s():.2f} s"
        print(told)
        assert found.asked(OTHER) >= 15, f"no load: {told}"
        assert not found.wrong(), told
        # Whatever waits in a queue when its hook goes is dropped (nf_queue_nf_hook_drop in the
        # kernel's net/netfilter/nf_queue.c): the query that is asked in that moment.
        lost = found.lost()
        assert len(lost) <= self.is_queued, f"{told} at {lost}\n{self.machine.journal()}"
        assert found.gap_s() <= load.PROMISE_S, f"{told}\n{self.machine.journal()}"
        return found

    def await_works(self, without: frozenset[str] = frozenset()) -> None:
        """Everything holds, but for exactly what is known not to."""
        end = time.monotonic() + load.PROMISE_S
        while (found := failures(self.machine)).keys() != without:
            assert time.monotonic() < end, f"{found}\n{self.machine.journal()}"

    def assert_alone_again(self) -> None:
        """After a stop the host shows what it showed without us, byte for byte."""
        self.machine.stop()
        left = snapshot.diff(self.rules, rules(self.machine))
        assert not left, left


@contextmanager
def served(machine: Machine) -> Iterator[None]:
    """An application on the machine, on all its addresses."""
    word = service.encode(Served("app", PORT, (IPv4Address("0.0.0.0"), IPv6Address("::"))))
    argv = machine.outside([sys.executable, "-m", service.__name__, word])
    child = command.start(argv, env=environment(), stdout=None)
    try:
        wait_until(lambda: "app" in machine.sh(f"curl -s {OWN}:{PORT}/", check=False), "app")
        yield
    finally:
        child.stop()


def is_reached(machine: Machine) -> bool:
    """Whether another host's call comes through to the application."""
    call = ["curl", "-s", "-m", "2", f"http://{OWN}:{PORT}/"]
    return machine.lab.run("svc1", call, check=False).stdout == "app\n"


def rules(machine: Machine) -> Snapshot:
    whole = snapshot.observe_by(machine.run)
    return {title: COUNTER.sub("counter", whole[title]) for title in RULES}


def failures(machine: Machine) -> dict[str, str]:
    """What of the promise does not hold now, each with what came instead."""
    found = {}
    for what, (script, wanted) in CHECKS.items():
        said = machine.sh(script, check=False)
        if not said.startswith(wanted):
            found[what] = said
    return found
