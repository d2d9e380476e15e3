"""A host of the lab with a running daemon, faults on it, and how soon they are made good."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

from interceptor.lab import snapshot
from interceptor.lab.agent import Agent
from interceptor.lab.removal import wait_until
from tests.netns import fault as fault_script
from tests.netns.fault import still

NAME = "reviews.bookinfo.svc.cluster.local"
SERVER = "@10.77.0.53"
LIMIT_S = 2.0
"""The promise: whatever is removed is back by then."""
CALM_S = 5.2  # after a repair so long, the next removal is not taken for a fight


def dig(agent: Agent, name: str = NAME, server: str = SERVER) -> str:
    argv = ["dig", "+short", "+tries=1", "+time=1", server, name]
    return agent.lab.run(agent.host, argv, check=False).stdout.strip()


def curl(agent: Agent) -> str:
    argv = ["curl", "--silent", "--fail", "--max-time", "2", f"http://{NAME}:9080/"]
    return agent.lab.run(agent.host, argv, check=False).stdout.strip()


def counts(agent: Agent) -> Mapping[str, int]:
    """What was put back how often, by the daemon's own word."""
    return cast("Mapping[str, int]", agent.read("status")["reasserted"])


@dataclass
class Watched:
    """The daemon under test. ``took_s``: the fault's name to the seconds until all was back."""

    agent: Agent
    took_s: dict[str, float] = field(default_factory=dict)
    _in_a_row: dict[str, int] = field(default_factory=dict)

    def sh(self, script: str, *, check: bool = True) -> str:
        return self.agent.lab.run(self.agent.host, ["sh", "-euc", script], check=check).stdout

    def observe(self) -> dict[str, str]:
        """Everything that the host's tools show of what may be ours."""
        found = snapshot.observe(self.agent.lab, self.agent.host)
        return {title: still(text) for title, text in found.items()}

    def suffer(
        self, fault: str, script: str, looks: str, causes: set[str], limit_s: float = LIMIT_S
    ) -> None:
        """Make a fault; all is to be as before within the limit, a mesh name answered, and the
        fault counted by its causes. ``looks``: a command that shows what is removed."""
        self._keep_the_peace(causes)
        whole, before = self.observe(), counts(self.agent)
        task = json.dumps({"fault": script, "looks": looks, "patience_s": 10})
        argv = [sys.executable, fault_script.__file__]
        told = json.loads(self.agent.lab.run(self.agent.host, argv, task).stdout)
        assert told["harm"], f"{fault}: it did no harm"
        assert told["back_s"] is not None, f"{fault}: not put back\n{self.agent.log()[-2000:]}"
        assert told["answered_s"] is not None, f"{fault}: no mesh name is answered"
        self.took_s[fault] = told["answered_s"]
        assert told["answered_s"] < limit_s, f"{fault}: {told}"
        wait_until(self._is_counted(before, causes), f"{fault}: counted as {causes}", 5)
        left = snapshot.diff(whole, self.observe())
        assert not left, left

    def _keep_the_peace(self, causes: set[str]) -> None:
        """Three removals in a row are no fight yet."""
        if any(self._in_a_row.get(cause, 0) >= 2 for cause in causes):
            time.sleep(CALM_S)
            self._in_a_row.clear()
        for cause in causes:
            self._in_a_row[cause] = self._in_a_row.get(cause, 0) + 1

    def _is_counted(self, before: Mapping[str, int], causes: set[str]) -> Callable[[], bool]:
        def is_counted() -> bool:
            now = counts(self.agent)
            return {cause for cause in now if now[cause] > before.get(cause, 0)} == causes

        return is_counted
