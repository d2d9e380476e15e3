"""A host of the lab with a running daemon, faults on it, and how soon they are made good."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

from interceptor.lab import agent as lab_agent
from interceptor.lab import snapshot
from interceptor.lab.agent import Agent
from interceptor.lab.removal import wait_until
from interceptor.lab.world import Lab
from tests.netns import fault as fault_script
from tests.netns.fault import still

NAME = "reviews.bookinfo.svc.cluster.local"
SERVER = "@10.77.0.53"
LIMIT_S = 2.0
"""The promise: whatever is removed is back by then."""
CALM_S = 5.2
"""After a repair so long, the next removal is not taken for a fight."""


_REASSERTED = re.compile(r'^interceptor_reassert_total{what="(\w+)"} (\S+)$', re.MULTILINE)


@dataclass(frozen=True)
class Fault:
    """What somebody does (a shell script), what shows it (another), and what it is counted as.
    ``until``: a script that succeeds when all is in order, where that is not what it was before.
    ``asks``: the server that is asked then, or none; ``asked``: the mesh name."""

    name: str
    script: str
    looks: str = ""
    causes: frozenset[str] = frozenset()
    until: str = ""
    asks: str = "10.77.0.53"
    asked: str = NAME
    limit_s: float = LIMIT_S


@dataclass
class Watched:
    """The daemon under test. ``took_s``: the fault's name to the seconds until all was back."""

    agent: Agent
    took_s: dict[str, float] = field(default_factory=dict)
    _in_a_row: dict[str, int] = field(default_factory=dict)

    def sh(self, script: str, *, check: bool = True) -> str:
        return self.agent.lab.run(self.agent.host, ["sh", "-euc", script], check=check).stdout

    def dig(self, name: str = NAME) -> str:
        argv = ["dig", "+short", "+tries=1", "+time=1", SERVER, name]
        return self.agent.lab.run(self.agent.host, argv, check=False).stdout.strip()

    def status(self) -> Mapping[str, object]:
        """The daemon's own word, drift or not."""
        told = self.agent.run("status", "--json", check=False).stdout
        return cast("Mapping[str, object]", json.loads(told))

    def counts(self) -> Mapping[str, int]:
        """What was put back how often, as a scrape is told: that is quicker than the status."""
        text = self.sh("curl --silent http://127.0.0.1:15020/metrics")
        return {what: int(float(count)) for what, count in _REASSERTED.findall(text)}

    def observe(self) -> dict[str, str]:
        """Everything that the host's tools show of what may be ours."""
        found = snapshot.observe(self.agent.lab, self.agent.host)
        return {title: still(text) for title, text in found.items()}

    def suffer(self, fault: Fault) -> None:
        """Make a fault; all is to be in order within the limit, a mesh name answered, and the
        fault counted by its causes."""
        self._keep_the_peace(fault.causes)
        before = self.counts()
        task: dict[str, object] = {"fault": fault.script, "patience_s": 8}
        task |= {"looks": fault.looks, "until": fault.until}
        task |= {"asks": fault.asks, "name": fault.asked}
        argv = [sys.executable, fault_script.__file__]
        told = json.loads(self.agent.lab.run(self.agent.host, argv, json.dumps(task)).stdout)
        assert told["harm"], f"{fault.name}: it did no harm"
        assert told["back_s"] is not None, f"{fault.name}: for ever\n{self.agent.log()[-2000:]}"
        self.took_s[fault.name] = told["back_s"]
        assert told["back_s"] < fault.limit_s, f"{fault.name}: {told}\n{self.agent.log()[-2000:]}"
        wait_until(self._is_counted(before, fault.causes), f"{fault.name}: {fault.causes}", 5)

    def _keep_the_peace(self, causes: Collection[str]) -> None:
        """Three removals in a row are no fight yet."""
        if any(self._in_a_row.get(cause, 0) >= 3 for cause in causes):
            time.sleep(CALM_S)
            self._in_a_row.clear()
        for cause in causes:
            self._in_a_row[cause] = self._in_a_row.get(cause, 0) + 1

    def _is_counted(self, before: Mapping[str, int], causes: Collection[str]) -> Callable[[], bool]:
        def is_counted() -> bool:
            now = self.counts()
            return {cause for cause in now if now[cause] > before.get(cause, 0)} == set(causes)

        return is_counted


@contextmanager
def watched(host: str, over: Mapping[str, object], before: str = "") -> Iterator[Watched]:
    """A daemon on a lab's host, which ends well and leaves nothing. ``before``: a script that is
    run on the host first."""
    with Lab.open() as lab:
        if before:
            lab.run(host, ["sh", "-euc", before])
        bare = snapshot.observe(lab, host)
        agent = lab_agent.prepare(lab, host, over)
        agent.start()
        one = Watched(agent)
        yield one
        assert one.status()["drift"] is False
        assert agent.stop() == 0
        figures = ", ".join(f"{fault} {took_s:.2f} s" for fault, took_s in one.took_s.items())
        print(f"\n{agent.log().count('put back')} repairs: {figures}")
        left = snapshot.diff(bare, snapshot.observe(lab, host))
        assert not left, left
