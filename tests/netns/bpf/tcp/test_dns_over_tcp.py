"""TCP/53 by aliases: the worker in the agent's cgroup answers, or relays to the server meant."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from interceptor.dns.frame import Settings
from interceptor.dns.kernel import NEEDED
from interceptor.dns.plane import Plane
from interceptor.host import bpf, cgroup, command, pin
from interceptor.host.layout import PolicyFlag
from interceptor.mesh.model import Host, Kind, Locale

pytestmark = pytest.mark.root

MARK, DNS = 0x1DC1, 15053
SERVER4, SERVER6 = "10.0.0.1", "fd10::1"
DNSMASQ = f"""
no-resolv
no-hosts
no-daemon
pid-file=
bind-interfaces
listen-address={SERVER4}
listen-address={SERVER6}
host-record=www.other.test,192.0.2.1
host-record=reviews.test,192.0.2.99
"""
SERVERS = pytest.mark.parametrize("server", [SERVER4, SERVER6])


class Running:
    """A Plane in the VM, in an event loop of its own."""

    def __init__(self, steered: Any, folder: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self._ended = threading.Event()
        ready = threading.Event()
        steered.vm.thread(lambda: self._run(ready))
        assert ready.wait(10)
        many = tuple(ip_address("10.10.0.0") + n for n in range(100))
        hosts = (Host("reviews.test", "x", Kind.SERVICE_ENTRY, many),)
        self.plane = Plane(
            Settings(-1, 1, DNS, MARK, str(folder)),
            lambda: (Locale(), hosts),
            print,
            lambda argv: cgroup.join_argv(steered.agent, argv),
        )
        self.call(self.plane.open())

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.call_soon(ready.set)
        self.loop.run_forever()
        self.loop.close()
        self._ended.set()

    def call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def close(self) -> None:
        self.call(self.plane.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        assert self._ended.wait(10)


@pytest.fixture
def running(steered: Any, tmp_path: Path) -> Iterator[Running]:
    """Programs attached, a server on the peer, the worker listening."""
    flags = PolicyFlag.IPV4 | PolicyFlag.IPV6 | PolicyFlag.DNS | PolicyFlag.DNS_ALL
    steered.policy(flags)
    steered.attach()
    config = tmp_path / "dnsmasq.conf"
    config.write_text(DNSMASQ)
    folder = tmp_path / "bpf"
    with contextlib.ExitStack() as undo:
        pin.prepare(folder)
        undo.callback(command.run, ["umount", str(folder)])
        pin.map_path(folder, NEEDED[0]).parent.mkdir()
        for number in NEEDED:
            bpf.pin(steered.kernel.maps[number].fd, str(pin.map_path(folder, number)))
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        argv = ["dnsmasq", f"--conf-file={config}"]
        server = steered.peer.call(subprocess.Popen, argv, **quiet)
        undo.callback(server.wait, 5)
        undo.callback(server.terminate)
        made = Running(steered, folder)
        undo.callback(made.close)
        wait(lambda: dig(steered, SERVER4, "www.other.test", "+notcp") == ["192.0.2.1"])
        yield made


def dig(steered: Any, server: str, name: str, *words: str) -> list[str]:
    """From an application's cgroup; over TCP unless told otherwise."""
    argv = ["dig", f"@{server}", "+tcp", "+tries=1", "+time=3", "+short", *words, name]
    said: str = steered.run(lambda: command.run(argv, check=False).stdout)
    return said.splitlines()


def wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


@SERVERS
def test_mesh_names_are_answered_and_others_relayed_to_the_server_meant(
    steered: Any, running: Running, server: str
) -> None:
    answer = dig(steered, server, "reviews.test")
    assert len(answer) == 100
    assert "10.10.0.7" in answer
    assert dig(steered, server, "www.other.test") == ["192.0.2.1"]
    assert steered.counted()["dns"] >= 2
    wait(lambda: running.plane.counters.events.get("tcp-relayed", 0) == 1)


def test_without_the_worker_tcp_goes_to_its_server(steered: Any, running: Running) -> None:
    assert len(dig(steered, SERVER4, "reviews.test")) == 100
    running.call(running.plane.close())
    assert dig(steered, SERVER4, "reviews.test") == ["192.0.2.99"]


def test_a_server_that_refuses_is_told_to_the_client(steered: Any, running: Running) -> None:
    assert dig(steered, "10.50.0.1", "www.other.test") != ["192.0.2.1"]
    assert len(dig(steered, "10.50.0.1", "reviews.test")) == 100


def test_the_worker_lives_in_the_agent_s_cgroup(steered: Any, running: Running) -> None:
    assert running.plane.pid in cgroup.processes(steered.agent)
