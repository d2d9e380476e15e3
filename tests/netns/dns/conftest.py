"""A VM and its resolver in namespaces of their own, and a DNS plane on the VM.

The rules are written here, by hand, as the design says them: these tests must
not depend on a back end.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from interceptor.dns.frame import Settings
from interceptor.dns.plane import Plane
from interceptor.mesh.model import AppProtocol, Endpoint, Host, Kind, Locale, Port
from interceptor.mesh.table import Difference

MARK, QUEUE, TCP_PORT = 0x1DC0, 15053, 15053
SERVER4, SERVER6 = "10.99.0.1", "fd99::1"
CLIENT4, CLIENT6 = "10.99.0.2", "fd99::2"
CLONE_NEWNET = 0x40000000

SETUP = f"""
ip link add {{link}} netns {{vm}} type veth peer name eth0 netns {{server}}
ip -n {{vm}} link set {{link}} name eth0
ip -n {{vm}} link set lo up
ip -n {{server}} link set lo up
ip -n {{vm}} address add {CLIENT4}/24 dev eth0
ip -n {{vm}} address add {CLIENT6}/64 dev eth0 nodad
ip -n {{server}} address add {SERVER4}/24 dev eth0
ip -n {{server}} address add {SERVER6}/64 dev eth0 nodad
ip -n {{vm}} link set eth0 up
ip -n {{server}} link set eth0 up
"""

DNSMASQ = f"""
no-resolv
no-hosts
no-daemon
pid-file=
bind-interfaces
listen-address={SERVER4}
listen-address={SERVER6}
listen-address=127.0.0.53
host-record=www.other.test,192.0.2.1,2001:db8::1
host-record=reviews.bookinfo,198.51.100.66
txt-record=long.other.test,"{"x" * 200}","{"y" * 200}","{"z" * 200}"
local-ttl=7
"""


def make_hosts() -> dict[str, Host]:
    """A small mesh with one host of each kind."""
    many = tuple(ip_address("10.10.0.0") + n for n in range(1, 101))
    pods = ("10.20.0.1", "10.20.0.2")
    domain = "bookinfo.svc.cluster.local"
    hosts = [
        Host(
            f"reviews.{domain}",
            "bookinfo",
            Kind.SERVICE,
            (ip_address("10.0.0.1"), ip_address("10.0.0.2"), ip_address("fd00::1")),
            (Port("http", 9080, AppProtocol.HTTP), Port("dns", 53, AppProtocol.UDP)),
        ),
        Host(f"v4.{domain}", "bookinfo", Kind.SERVICE, (ip_address("10.0.0.4"),)),
        Host(f"many.{domain}", "bookinfo", Kind.SERVICE, many),
        Host(
            f"db.{domain}",
            "bookinfo",
            Kind.HEADLESS,
            tuple(map(ip_address, pods)),
            (Port("sql", 3306),),
            tuple(Endpoint(ip_address(pod), (("sql", 3307),)) for pod in pods),
        ),
        Host(f"db-0.db.{domain}", "bookinfo", Kind.POD, (ip_address(pods[0]),)),
        Host(f"ext.{domain}", "bookinfo", Kind.EXTERNAL_NAME, external_name="a.wild.test"),
        Host("*.wild.test", "x", Kind.SERVICE_ENTRY, (ip_address("240.240.0.9"),)),
        Host("open.test", "x", Kind.SERVICE_ENTRY),
    ]
    return {host.name: host for host in hosts}


class World:
    """Two namespaces: ``vm`` with the plane, ``server`` with dnsmasq."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        token = f"{os.getpid():x}{secrets.token_hex(2)}"
        self.vm, self.server, self.folder = f"dv{token}", f"ds{token}", folder
        self._stack = stack
        self.hosts = make_hosts()
        self.locale = Locale("vm", search=("corp.test",))
        self.log: list[str] = []
        for name in (self.vm, self.server):
            self.sh(f"ip netns add {name}")
            stack.callback(self.sh, f"ip netns del {name}")
        script = SETUP.format(vm=self.vm, server=self.server, link=f"l{token}"[:15])
        for line in script.split("\n"):
            if line:
                self.sh(line)
        config = folder / "dnsmasq.conf"
        config.write_text(DNSMASQ)
        self.dnsmasq = self.start(self.server, f"dnsmasq --conf-file={config}")
        for server in (SERVER4, SERVER6):
            ask = f"dig +tries=1 +time=1 @{server} www.other.test"
            self.wait(lambda ask=ask: self.inside(self.vm, ask).returncode == 0)

    @staticmethod
    def sh(line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(line.split(), check=True, capture_output=True, text=True)

    def inside(
        self, name: str, line: str | list[str], **more: Any
    ) -> subprocess.CompletedProcess[str]:
        argv = line.split() if isinstance(line, str) else line
        return subprocess.run(
            ["ip", "netns", "exec", name, *argv], capture_output=True, text=True, timeout=60, **more
        )

    def start(self, name: str, line: str, **more: Any) -> subprocess.Popen[bytes]:
        """A program in a namespace, ended with the test."""
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} | more
        child = subprocess.Popen(["ip", "netns", "exec", name, *line.split()], **quiet)
        self._stack.callback(_end, child)
        return child

    @staticmethod
    def wait(condition: Callable[[], bool], limit_s: float = 10) -> None:
        deadline = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < deadline, "did not happen in time"
            time.sleep(0.02)

    def dig(self, *words: str, server: str = SERVER4) -> str:
        """dig's whole output, comments included."""
        argv = ["dig", f"@{server}", "+tries=1", "+time=2", *words]
        return self.inside(self.vm, argv).stdout

    def short(self, *words: str, server: str = SERVER4) -> list[str]:
        return self.dig("+short", *words, server=server).split("\n")[:-1]

    def rules(self) -> None:
        """Design §6: NFQUEUE with bypass in mangle OUTPUT; marked TCP/53 redirected."""
        steered = f"{MARK + 1:#x}"
        for tool in ("iptables-nft", "ip6tables-nft"):
            queue = f"-j NFQUEUE --queue-num {QUEUE} --queue-bypass"
            ours = f"-m mark --mark {MARK:#x} -j RETURN"
            for line in (
                f"{tool} -t mangle -A OUTPUT {ours}",
                f"{tool} -t mangle -A OUTPUT -p udp --dport 53 {queue}",
                f"{tool} -t mangle -A OUTPUT -p tcp --dport 53 --syn {queue}",
                f"{tool} -t nat -A OUTPUT -p tcp --dport 53 -m mark --mark {steered} "
                f"-j REDIRECT --to-ports {TCP_PORT}",
            ):
                done = self.inside(self.vm, line)
                assert done.returncode == 0, done.stderr

    def run_plane(self, length: int = 4096) -> Running:
        """A plane on the VM; the caller closes it."""
        return Running(self, Settings(QUEUE, length, TCP_PORT, MARK))

    def capture(self, name: str, expression: str) -> tuple[Path, subprocess.Popen[bytes]]:
        """tcpdump on the link, from before this returns."""
        file = self.folder / f"{secrets.token_hex(4)}.pcap"
        child = self.start(
            name, f"tcpdump -U -n -i eth0 -w {file} {expression}", stderr=subprocess.PIPE
        )
        assert child.stderr is not None
        assert b"listening" in child.stderr.readline()
        return file, child


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.send_signal(signal.SIGCONT)
        child.terminate()
    try:
        child.wait(5)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    for stream in (child.stdout, child.stderr):
        if stream:
            stream.close()


class Running:
    """A Plane in an event loop of its own, in a thread that lives in the VM's namespace."""

    def __init__(self, world: World, settings: Settings) -> None:
        self.world = world
        self.loop = asyncio.new_event_loop()
        self._started: Future[None] = Future()
        self._settings = settings
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self._started.result()
        self.plane = Plane(
            settings, lambda: (world.locale, tuple(world.hosts.values())), world.log.append
        )
        self.call(self.plane.open())

    def _run(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        with open(f"/run/netns/{self.world.vm}", "rb") as namespace:
            if libc.setns(namespace.fileno(), CLONE_NEWNET):
                self._started.set_exception(OSError(ctypes.get_errno(), "setns"))
                return
        asyncio.set_event_loop(self.loop)
        self.loop.call_soon(self._started.set_result, None)
        self.loop.run_forever()

    def call(self, work: Coroutine[Any, Any, Any], limit_s: float = 60) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(limit_s)

    def put(self, *hosts: Host) -> None:
        self.world.hosts |= {host.name: host for host in hosts}
        self.call(self.plane.send(Difference(hosts)))

    def remove(self, *names: str) -> None:
        for name in names:
            del self.world.hosts[name]
        self.call(self.plane.send(Difference(removed=names)))

    def close(self) -> None:
        self.call(self.plane.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


def open_world(folder: Path) -> Iterator[World]:
    """For fixtures: a world with its rules, gone afterwards."""
    with ExitStack() as stack:
        world = World(stack, folder)
        world.rules()
        yield world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One for all tests of a file, which must leave it as it was."""
    yield from open_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def plane(world: World) -> Iterator[Running]:
    running = world.run_plane()
    try:
        yield running
    finally:
        running.close()


@pytest.fixture
def own_world(tmp_path: Path) -> Iterator[World]:
    """For tests that break it."""
    yield from open_world(tmp_path)


@pytest.fixture
def own_plane(own_world: World) -> Iterator[Running]:
    running = own_world.run_plane()
    try:
        yield running
    finally:
        running.close()
