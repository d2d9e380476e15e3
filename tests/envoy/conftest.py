"""A VM and a host of services in two network namespaces, with a real Envoy in the VM's.

The rules are written here, not by our back ends: the sidecar is tested by itself.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

import pytest

from interceptor.config import Config, parse
from interceptor.mesh.model import AppProtocol, Endpoint, Host, Kind, Port
from interceptor.mesh.table import MeshTable, diff
from interceptor.sidecar import ads, binary, bootstrap, launch, resources, setting
from interceptor.sidecar.admin import Admin
from interceptor.sidecar.process import Sidecar

T = TypeVar("T")
CLONE_NEWNET = 0x40000000
VM4, VM6 = "10.77.0.1", "fd77::1"
SERVICES4 = ("10.77.0.2", "10.77.0.3", "10.77.0.4")
SERVICES6 = ("fd77::2", "fd77::3", "fd77::4")

RULES = """
table inet sidecar_test {
  set services4 {
    type ipv4_addr; flags interval
    elements = { 10.96.0.0/16, 240.240.0.0/16, 10.77.0.4/32 }
  }
  set services6 { type ipv6_addr; flags interval; elements = { 2001:2::/48 } }
  chain output {
    type nat hook output priority -100;
    meta skuid 1337 return
    meta l4proto tcp ip daddr @services4 redirect to :15001
    meta l4proto tcp ip6 daddr @services6 redirect to :15001
  }
  chain prerouting {
    type nat hook prerouting priority -100;
    iifname "lo" return
    tcp dport { 8080, 8081, 15006, 9090 } redirect to :15006
  }
}
"""


def sh(*argv: str, stdin: str | None = None) -> str:
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, f"{argv}: {done.stderr}{done.stdout}"
    return done.stdout


def inside(namespace: str, *argv: str, stdin: str | None = None) -> str:
    return sh("ip", "netns", "exec", namespace, *argv, stdin=stdin)


@dataclass
class Net:
    """Two namespaces with a wire between them, and the servers of one of them."""

    vm: str
    far: str
    children: list[subprocess.Popen[str]] = field(default_factory=list)

    def serve(self, namespace: str, *specs: str) -> subprocess.Popen[str]:
        script = str(Path(__file__).with_name("server.py"))
        child = subprocess.Popen(
            ["ip", "netns", "exec", namespace, sys.executable, script, *specs],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.children.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        return child

    def end(self, child: subprocess.Popen[str]) -> None:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()
        self.children.remove(child)


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    tag = f"{os.getpid()}-{secrets.token_hex(2)}"
    made = Net(f"scv-{tag}", f"scf-{tag}")
    try:
        for namespace in (made.vm, made.far):
            sh("ip", "netns", "add", namespace)
            inside(namespace, "sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0")
            inside(namespace, "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
            inside(namespace, "ip", "link", "set", "lo", "up")
        sh(*f"ip link add eth0 netns {made.vm} type veth peer name eth0 netns {made.far}".split())
        for namespace, addresses in ((made.vm, (VM4, VM6)), (made.far, SERVICES4 + SERVICES6)):
            for address in addresses:
                length = "64" if ":" in address else "24"
                inside(namespace, "ip", "addr", "add", f"{address}/{length}", "dev", "eth0")
            inside(namespace, "ip", "link", "set", "eth0", "up")
        inside(made.vm, "ip", "route", "add", "default", "via", SERVICES4[0])
        inside(made.vm, "ip", "-6", "route", "add", "default", "via", SERVICES6[0])
        inside(made.vm, "ip", "addr", "add", "::6/128", "dev", "lo")
        inside(made.vm, "nft", "-f", "-", stdin=RULES)
        yield made
    finally:
        for child in list(made.children):
            made.end(child)
        for namespace in (made.vm, made.far):
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True)
        left = sh("ip", "netns", "list")
        assert made.vm not in left


class Loop:
    """An event loop in a thread whose network namespace is the VM's."""

    def __init__(self, namespace: str) -> None:
        self.loop = asyncio.new_event_loop()
        entered = threading.Event()

        def run() -> None:
            with open(f"/run/netns/{namespace}") as file:
                libc = ctypes.CDLL(None, use_errno=True)
                assert libc.setns(file.fileno(), CLONE_NEWNET) == 0
            entered.set()
            self.loop.run_forever()

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()
        assert entered.wait(5)

    def run(self, awaitable: Awaitable[T], timeout_s: float = 30) -> T:
        async def wrap() -> T:
            return await awaitable

        return asyncio.run_coroutine_threadsafe(wrap(), self.loop).result(timeout_s)

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        async def wrap() -> T:
            return function(*arguments)

        return self.run(wrap())

    def close(self) -> None:
        self.run(self.loop.shutdown_default_executor())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()


class World:
    """Our ADS server and our Envoy in the VM, and what an application there sees."""

    def __init__(self, net: Net, run_dir: Path, extra: str = "") -> None:
        self.net = net
        self.run_dir = run_dir
        self.config: Config = parse(
            f"agent: {{run_dir: {run_dir}}}\nnode: {{namespace: shop}}\n"
            f"sidecar:\n  concurrency: 2\n  connect_timeout_ms: 500\n{extra}"
        )
        self.loop = Loop(net.vm)
        own = (ip_address(VM4), ip_address(VM6))
        self.settings = setting.choose(self.config, own)
        self.files = launch.files(run_dir)
        self.node = bootstrap.Node(f"sidecar~{VM4}~vm-1.shop~shop.svc.cluster.local", "vm-1.shop")
        self.place = bootstrap.Place(self.node, str(self.files.socket), admin=str(self.files.admin))
        self.admin = Admin(self.files.admin)
        self.table = MeshTable()
        self.snapshot = resources.build(self.table, self.settings)
        self.server: ads.Server | None = None
        self.sidecar: Sidecar | None = None

    # the daemon's part

    def set(self, **settings: Any) -> None:
        """Other settings than those of the configuration, before the start."""
        self.settings = replace(self.settings, **settings)
        self.snapshot = resources.build(self.table, self.settings)

    def wanted(self) -> launch.Launch:
        program = binary.find(self.config.sidecar.binary)
        text = bootstrap.build(self.config, self.place)
        return launch.build(self.config, program, binary.stamp(program), text)

    def open_server(self) -> None:
        async def go() -> ads.Server:
            server = ads.Server(self.files.socket, self.config.sidecar.gid)
            server.set(self.snapshot.resources)
            await server.open()
            return server

        self.files.folder.mkdir(parents=True, exist_ok=True)
        self.server = self.loop.run(go())

    def close_server(self) -> None:
        assert self.server is not None
        self.loop.run(self.server.close())
        self.server = None

    def start_sidecar(self) -> Sidecar:
        async def go() -> Sidecar:
            made = Sidecar(
                self.wanted(), self.files, self.admin, access_log=self.settings.access_log
            )
            await made.start()
            assert await made.wait_live(20), self.files.log.read_text()
            return made

        self.sidecar = self.loop.run(go())
        return self.sidecar

    def start(self) -> None:
        self.open_server()
        self.start_sidecar()
        self.settle()

    def settle(self) -> None:
        assert self.server is not None
        assert self.loop.run(self.server.wait_settled(10)), "envoy did not answer"

    def close(self) -> None:
        try:
            if self.sidecar is not None:
                self.loop.run(self.sidecar.stop(0))
            if self.server is not None:
                self.close_server()
        finally:
            self.loop.close()

    def mesh(self, *hosts: Host, settle: bool = True) -> None:
        """Make these the mesh's hosts, by difference, and wait for Envoy's answer."""
        table = MeshTable({host.name: host for host in hosts})
        self.snapshot, change = resources.update(self.snapshot, diff(self.table, table))
        self.table = table
        assert self.server is not None
        self.loop.call(self.server.set, self.snapshot.resources, change)
        if settle:
            self.settle()

    # the application's part

    def curl(self, *arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            ["ip", "netns", "exec", self.net.vm, "curl", "-sS", "-m", "10", *arguments],
            capture_output=True,
            text=True,
            timeout=20,
        )
        return done.returncode, done.stdout if done.returncode == 0 else done.stderr

    def get(self, url: str, *arguments: str) -> dict[str, str]:
        code, text = self.curl(*arguments, url)
        assert code == 0, text
        answer: dict[str, str] = json.loads(text)
        return answer

    def connect(self, address: str, port: int, timeout_s: float = 5) -> socket.socket:
        """A socket of the VM's namespace, connected."""

        def make() -> socket.socket:
            return socket.create_connection((address, port), timeout_s)

        return self.loop.call(make)

    def stats(self, pattern: str) -> dict[str, int]:
        return self.loop.call(self.admin.stats, pattern)

    def access_log(self, wait_for: str, timeout_s: float = 5) -> list[dict[str, Any]]:
        """The lines of the access log that hold ``wait_for``, once there are any."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            text = Path(self.settings.access_log).read_text()
            lines = [json.loads(line) for line in text.splitlines() if wait_for in line]
            if lines:
                return lines
            time.sleep(0.1)
        raise AssertionError(f"no {wait_for} in the access log:\n{text}")


@pytest.fixture
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Short, because a Unix socket's path has 107 bytes; passable for the sidecar's user."""
    path = Path(f"/run/ixsc-{os.getpid()}-{secrets.token_hex(2)}")
    path.mkdir(mode=0o711)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def world(net: Net, run_dir: Path) -> Iterator[World]:
    made = World(net, run_dir)
    try:
        made.start()
        yield made
    finally:
        made.close()


def service(
    name: str,
    addresses: str | tuple[str, ...],
    endpoints: tuple[tuple[str, int] | tuple[str, int, int], ...] = (),
    *,
    port: int = 80,
    protocol: AppProtocol = AppProtocol.HTTP,
    **more: Any,
) -> Host:
    """A Service in one line: endpoints are (address, port) or (address, port, weight)."""
    made = []
    for address, number, *weight in endpoints:
        place = ip_address(address) if address[0].isdigit() or ":" in address else address
        made.append(Endpoint(place, (("p", number),), weight=weight[0] if weight else 0))
    addresses = (addresses,) if isinstance(addresses, str) else addresses
    host = Host(
        name,
        "shop",
        Kind.SERVICE,
        tuple(map(ip_address, addresses)),
        (Port("p", port, protocol),),
        tuple(made),
    )
    return replace(host, **more)


@pytest.fixture
def make_service() -> Callable[..., Host]:
    return service


@pytest.fixture
def make_world(net: Net, run_dir: Path) -> Iterator[Callable[..., World]]:
    """Worlds with further configuration; each ended with the test."""
    made: list[World] = []

    def make(extra: str = "") -> World:
        made.append(World(net, run_dir, extra))
        return made[-1]

    yield make
    for item in made:
        item.close()
