"""DNS load on a machine while something happens to it, and what became of each query."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from interceptor.host import command
from interceptor.lab.world import environment
from tests.systemd import asker
from tests.systemd.machine import HOST, Machine

OTHER = "www.corp.example"
OTHER_ADDRESS = "10.77.0.61"
MESH = "reviews.bookinfo.svc.cluster.local"
MESH_ADDRESS = "10.96.0.11"
SERVER = "10.77.0.53"
CONTROL = f"{OTHER}:5300"
"""The same question to another port, which we never look at: what is lost here, too, is lost to
the firewall."""
PROMISE_S = 2.0  # design §7: rules that somebody flushed are in again


@dataclass(slots=True)
class Load:
    """Queries for a mesh name and for one of others. Complete once the `with` block is left."""

    events: list[tuple[float, str, str]] = field(default_factory=list)

    def lost(self) -> list[float]:
        """When queries for the other name were lost, although the control's came through just
        before, together with them and just after."""
        blind = [when for when, name, what in self.events if name == CONTROL and what == "lost"]
        return [
            when
            for when, name, what in self.events
            if (name, what) == (OTHER, "lost")
            and not any(abs(when - other) < 1.5 * asker.PERIOD_S for other in blind)
        ]

    def lost_to_others(self) -> int:
        return sum(1 for _, name, what in self.events if (name, what) == (CONTROL, "lost"))

    def asked(self, name: str) -> int:
        return sum(1 for _, asked, _ in self.events if asked == name)

    def wrong(self) -> list[str]:
        """Answers for the other name that nobody but we could have given."""
        theirs = {OTHER_ADDRESS, "lost"}
        return [what for _, name, what in self.events if name == OTHER and what not in theirs]

    def gap_s(self) -> float:
        """The longest time in which the mesh's name was not answered by us."""
        longest, began = 0.0, None
        for when, name, what in self.events:
            if name != MESH:
                continue
            if what == MESH_ADDRESS:
                began = None
            else:
                began = when if began is None else began
                longest = max(longest, when - began + asker.PERIOD_S)
        return longest


REDIRECT = """
table inet control {
    chain in { type nat hook prerouting priority dstnat; udp dport 5300 redirect to :53; }
}
"""


def open_control(machine: Machine) -> None:
    """Port 5300 of the DNS server is its port 53."""
    machine.lab.run("dns", ["nft", "-f", "-"], REDIRECT)


@contextmanager
def applied(machine: Machine, server: str = SERVER) -> Iterator[Load]:
    """Ask from in the machine, 20 times a second for each name, for as long as the block lasts."""
    load = Load()
    argv = [sys.executable, "-m", asker.__name__, server, CONTROL, OTHER, MESH]
    out = machine.lab.host_folder(HOST) / "asker.json"
    with out.open("wb") as file:
        child = command.start(machine.outside(argv), stdout=file, env=environment())
    try:
        yield load
    finally:
        child.stop(grace_s=10)
    load.events.extend(tuple(event) for event in json.loads(out.read_text()))
