"""What all tests share: labs, and the rule that what cannot run fails instead of being skipped."""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Thread
from typing import Any, TypeVar

import pytest

from interceptor.host import bpflink, command, probe, tc
from interceptor.host.bpf import AttachType
from interceptor.lab import agent
from interceptor.lab.agent import Agent
from interceptor.lab.world import Lab

BACKENDS = ("nftables", "ebpf")
"""Of the end-to-end tests; the conformance suite holds iptables to the same, by the real daemon."""


# A shell's background command ignores SIGINT, and so would every program that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _root_where_marked(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("root") and os.geteuid() != 0:
        pytest.fail("needs root, for network namespaces: run `sudo scripts/test`")


@pytest.fixture(autouse=True)
def _machine_is_not_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs of a test hang on cgroups and namespaces of its own: never on the machine's."""
    create, attach = bpflink.create, tc.attach
    theirs = {os.stat("/proc/self/ns/net").st_ino}
    if mount := probe.cgroup_mount():
        theirs.add(os.stat(mount).st_ino)

    def create_elsewhere(program: int, target: int, kind: AttachType) -> int:
        assert os.fstat(target).st_ino not in theirs, "a link on this machine's own place"
        return create(program, target, kind)

    def attach_elsewhere(*where: Any) -> tc.Filter:
        here = os.stat("/proc/thread-self/ns/net").st_ino
        assert here not in theirs, "a filter in this machine's own namespace"
        return attach(*where)

    monkeypatch.setattr(bpflink, "create", create_elsewhere)
    monkeypatch.setattr(tc, "attach", attach_elsewhere)


@pytest.fixture
def lab() -> Iterator[Lab]:
    """The demo's lab for one test, everything of it removed afterwards."""
    with Lab.open() as opened:
        yield opened


@pytest.fixture(scope="module")
def module_lab() -> Iterator[Lab]:
    """The demo's lab for all tests of a file, which must not leave it changed."""
    with Lab.open() as opened:
        yield opened


@pytest.fixture(scope="module", params=BACKENDS)
def member(request: pytest.FixtureRequest) -> Iterator[Agent]:
    """The demo's lab with a running agent on `vm`; tests leave its mesh as they found it."""
    with Lab.open() as opened:
        one = agent.prepare(opened, "vm", {"capture": {"backend": request.param}})
        one.start()
        yield one
        one.stop()


CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
Result = TypeVar("Result")


class Namespace:
    """A bare network namespace with lo up, and a thread that lives in it.

    Sockets made by `call`ed functions and commands run by them are the
    namespace's; /sys stays the host's, so that cgroups are to be seen.
    """

    count = itertools.count()

    def __init__(self, what: str) -> None:
        self.name = f"itest-{os.getpid()}-{next(self.count)}-{what}"
        command.run(["ip", "netns", "add", self.name])
        self._pool = ThreadPoolExecutor(1, initializer=self._enter)
        self.sh("ip link set lo up")

    def _enter(self) -> None:
        descriptor = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            if LIBC.setns(descriptor, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(descriptor)

    def call(self, function: Callable[..., Result], *args: object, **named: object) -> Result:
        """What ``function`` returns (or raises) in the namespace."""
        return self._pool.submit(function, *args, **named).result()

    def thread(self, function: Callable[[], None]) -> None:
        """Run ``function`` in a thread of its own in the namespace, for as long as it likes."""

        def body() -> None:
            self._enter()
            function()

        Thread(target=body, daemon=True).start()

    def sh(self, script: str, *, check: bool = True) -> str:
        """A shell script's output."""
        return self.call(command.run, ["sh", "-euc", script], check=check).stdout

    def close(self) -> None:
        self._pool.shutdown()
        command.run(["ip", "netns", "del", self.name], check=False)


@pytest.fixture(scope="module")
def namespaces() -> Iterator[Callable[[str], Namespace]]:
    """A maker of namespaces, all of which are gone after the tests of a file."""
    made: list[Namespace] = []

    def make(what: str) -> Namespace:
        made.append(Namespace(what))
        return made[-1]

    yield make
    for namespace in made:
        namespace.close()
