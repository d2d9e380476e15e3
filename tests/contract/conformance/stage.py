"""A lab with one back end's agent on it, and what cases do there."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from interceptor.lab import agent as lab_agent
from interceptor.lab import description, removal, snapshot
from interceptor.lab.agent import Agent
from interceptor.lab.removal import LabFailed
from interceptor.lab.world import Lab
from interceptor.sidecar import binary
from tests.contract.conformance import client, connection, message, question, world
from tests.contract.conformance.client import ROOT, Owner
from tests.contract.conformance.connection import PLAIN, Dial, Seen
from tests.contract.conformance.message import Reply
from tests.contract.conformance.question import CONNECTED, Socket
from tests.contract.conformance.setting import EXCLUDED_CGROUP, SETTINGS
from tests.contract.conformance.wire import Wire

Result = TypeVar("Result")
WRAPPER = """#!/bin/sh
# Envoy, unless a test wants it away.
if [ -e {flag} ]; then exit 1; fi
exec {envoy} "$@"
"""


class Stage:
    """The lab of one back end. ``musl`` is the path of the static resolver client."""

    def __init__(self, backend: str, lab: Lab, musl: Path) -> None:
        self.backend, self.lab, self.musl = backend, lab, musl
        world.wire(lab)
        world.serve(lab)
        (removal.cgroup(lab.token, "vm") / EXCLUDED_CGROUP).mkdir()
        self.mesh = lab_agent.copy_mesh(lab.folder / "mesh", world.MESH)
        world.write_entries(self.mesh)
        (lab.folder / "table.json").write_text(json.dumps(world.NAME_TABLE))
        self.before = self._observe()
        self.wire = Wire(lab)
        self._envoy, self._no_envoy = lab.folder / "envoy", lab.folder / "no-envoy"
        self._envoy.write_text(WRAPPER.format(flag=self._no_envoy, envoy=binary.find(None)))
        self._envoy.chmod(0o755)
        self.agent: Agent | None = None
        self._setting = ""
        self._failure: LabFailed | None = None

    def enter(self, name: str) -> None:
        """Have an agent of that setting run. Raises LabFailed where it will not start."""
        if name != self._setting:
            self.leave()
            self._setting = name
            self._start(name)
        if self._failure is not None:
            raise self._failure

    def _start(self, name: str) -> None:
        setting = SETTINGS[name]
        if setting.before:
            self.vm("sh", "-euc", setting.before)
        below = f"{removal.PREFIX}-{self.lab.token}/vm"
        text = {
            "capture": {"backend": self.backend},
            "sidecar": {"binary": str(self._envoy)},
            "agent": {"drain_s": 0},
        }
        words = {"{cgroup}": below, "{folder}": str(self.lab.folder)}
        over = description.merge(text, _filled(setting.over, words))
        self.agent = lab_agent.prepare(self.lab, "vm", over, self.mesh)
        try:
            self.agent.start()
        except LabFailed as error:
            self._failure = error
            return
        assert f"backend: {self.backend} [" in self.agent.log(), "another back end is at work"

    def leave(self) -> None:
        """End the agent, if one runs, as its configuration says."""
        if self.agent is not None:
            code = self.agent.stop()
            after = SETTINGS[self._setting].after
            if after:
                self.vm("sh", "-euc", after)
            has_failed, self._failure = self._failure is not None, None
            assert has_failed or code == 0, self.agent.log()
        self.agent, self._setting = None, ""

    def left_behind(self) -> str:
        """What the VM shows that it did not show before any agent ran; empty: nothing."""
        self.leave()
        return snapshot.diff(_in_order(self.before), _in_order(self._observe()))

    def _observe(self) -> snapshot.Snapshot:
        """The VM with what programs hang on: queueing disciplines, and what is pinned."""
        pins = sorted(map(str, removal.bpffs(self.lab.token, "vm").rglob("*")))
        more = {"tc qdisc": self.vm("tc", "qdisc", "show"), "pins": "\n".join(pins)}
        return {**snapshot.observe(self.lab, "vm"), **more}

    # --- programs

    def vm(self, *argv: str, stdin: str | None = None, check: bool = True) -> str:
        """A program's output on the VM."""
        return self.lab.run("vm", argv, stdin, check=check).stdout

    def call(
        self,
        function: Callable[..., Result],
        *args: object,
        owner: Owner = ROOT,
        host: str = "vm",
    ) -> Result:
        """What ``function`` returns (or raises) in a process on ``host``."""
        return client.run(self.lab, host, function, *args, owner=owner)

    @contextmanager
    def changed(self, script: str, undo: str) -> Iterator[None]:
        """The VM with something changed by a shell script; put back afterwards."""
        try:
            self.vm("sh", "-euc", script)
            yield
        finally:
            self.vm("sh", "-euc", undo)

    @property
    def box(self) -> Owner:
        """A process in the container, which is in the VM's cgroup as containers are."""
        return Owner(namespace=self.lab.namespace("box"))

    # --- DNS

    def dig(self, *words: str) -> str:
        """dig's whole output."""
        return self.vm("dig", "+tries=1", "+timeout=3", *words, check=False)

    def short(self, *words: str) -> list[str]:
        return self.dig("+short", *words).split("\n")[:-1]

    def ask(self, server: str, query: bytes, how: Socket = CONNECTED, owner: Owner = ROOT) -> Reply:
        """The reply to one query. Raises TimeoutError or another OSError."""
        return message.parse(self.call(question.ask, server, (query,), how, owner=owner)[0])

    def addresses(
        self, server: str, name: str, owner: Owner = ROOT, how: Socket = CONNECTED
    ) -> list[str]:
        """The addresses of the server's family that a name has."""
        kind = message.AAAA if ":" in server else message.A
        return self.ask(server, message.query(name, kind), how, owner).addresses

    # --- TCP

    def dial(
        self,
        address: str,
        port: int = 7000,
        owner: Owner = ROOT,
        how: Dial = PLAIN,
        host: str = "vm",
    ) -> Seen:
        """One connection, as both of its ends see it."""
        how = replace(how, address=address, port=port)
        return self.call(connection.dial, how, owner=owner, host=host)

    def assert_container_direct(self, address: str, port: int = 7000) -> None:
        """A container's connection is masqueraded, and keeps its port unless that is taken."""
        seen = [self.dial(address, port, self.box) for _ in range(3)]
        assert "direct" in {each.way for each in seen}, seen

    def running(self) -> Agent:
        """The agent that runs now."""
        assert self.agent is not None
        return self.agent

    def assert_at_work(self) -> None:
        """The other side of cases that are about what is left alone: the rest is captured."""
        assert self.addresses(world.SERVERS[0], world.ONE) == [world.VIPS[world.ONE][0]]
        assert self.dial(world.POD[0]).way == "sidecar", "nothing is captured"

    def is_logged(self, *words: str) -> bool:
        """Whether a line of the sidecar's access log holds all of the words."""
        return any(all(word in line for word in words) for line in self.running().access_log())

    @contextmanager
    def without_sidecar(self) -> Iterator[None]:
        """The sidecar killed, and kept from starting again."""
        self._no_envoy.touch()
        try:
            for pid in self.lab.pids("vm"):
                if os.path.realpath(f"/proc/{pid}/exe") == str(binary.find(None).resolve()):
                    os.kill(pid, signal.SIGKILL)
            yield
        finally:
            self._no_envoy.unlink()


def _in_order(seen: snapshot.Snapshot) -> snapshot.Snapshot:
    """Routes and addresses in one order: those that went and came again stand elsewhere."""
    return {
        title: "\n".join(sorted(text.splitlines())) if title.startswith("ip ") else text
        for title, text in seen.items()
    }


def _filled(value: object, words: Mapping[str, str]) -> dict[str, object]:
    """A setting's tree with the lab's own paths where it has a word for them."""

    def fill(node: object) -> object:
        if isinstance(node, dict):
            return {key: fill(each) for key, each in node.items()}
        if isinstance(node, list):
            return [fill(each) for each in node]
        if isinstance(node, str):
            for word, meant in words.items():
                node = node.replace(word, meant)
        return node

    filled = fill(value)
    assert isinstance(filled, dict)
    return filled
