"""A worker beside the kernel's programs: what they hand over, live, on a VM with a resolver.

The VM's firewall is as strict as they get: nothing comes in that does not
belong to a flow which began here, but for loopback between its own addresses
(an answer that the kernel writes in place there belongs to no flow yet).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from interceptor.dns.frame import Settings
from interceptor.dns.plane import Plane
from interceptor.host import bpfmap, bytecode, command, pin, tc
from interceptor.host.layout import POLICY, Map, PolicyFlag, State
from interceptor.host.tc import Hook
from interceptor.mesh.model import AppProtocol, Endpoint, Host, Kind, Locale, Port

if TYPE_CHECKING:
    from tests.conftest import Namespace
    from tests.netns.bpf.conftest import Compiled

MARK, TCP_PORT = 0x1DC0, 15053
SERVER4, SERVER6, LINK_LOCAL = "10.99.0.1", "fd99::1", "fe80::1"
NS = "bookinfo.svc.cluster.local"
SETUP = f"""
ip link add eth0 type veth peer name eth0 netns {{server}}
ip address add 10.99.0.2/24 dev eth0; ip address add fd99::2/64 dev eth0 nodad
ip address add fe80::2/64 dev eth0 nodad
ip link set eth0 up
sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.eth0.rp_filter=1
nft -f - <<'X'
table inet strict {{{{
  chain input {{{{ type filter hook input priority 0; policy drop;
    ct state established accept
    meta l4proto ipv6-icmp accept
    iifname lo ip saddr 127.0.0.0/8 accept
    iifname lo ip6 saddr ::1 accept
  }}}}
  chain output {{{{ type filter hook output priority 0; policy drop;
    ct state established accept
    meta l4proto ipv6-icmp accept
    udp dport 53 accept
    tcp dport {{{{ 53, {TCP_PORT} }}}} accept
  }}}}
}}}}
X
"""
SERVER = f"""
ip address add {SERVER4}/24 dev eth0; ip address add {SERVER6}/64 dev eth0 nodad
ip address add {LINK_LOCAL}/64 dev eth0 nodad
ip link set eth0 up
"""
DNSMASQ = f"""
no-resolv
no-hosts
no-daemon
pid-file=
bind-dynamic
interface=eth0
interface=lo
listen-address={SERVER4},127.0.0.53
host-record=www.other.test,192.0.2.1
host-record=ghost.test,192.0.2.66
host-record=reviews.bookinfo.corp.test,192.0.2.99
host-record=reviews.bookinfo,192.0.2.98
local-ttl=7
"""


def hosts() -> tuple[Host, ...]:
    pods = tuple(map(ip_address, ("10.20.0.1", "10.20.0.2")))
    named = (Port("http", 9080, AppProtocol.HTTP),)
    own = (ip_address("10.0.0.1"), ip_address("fd00::1"))
    many = tuple(ip_address("10.10.0.0") + n for n in range(100))
    return (
        Host(f"reviews.{NS}", "bookinfo", Kind.SERVICE, own, named),
        Host(f"many.{NS}", "bookinfo", Kind.SERVICE, many),
        Host(f"db.{NS}", "bookinfo", Kind.HEADLESS, pods, endpoints=tuple(map(Endpoint, pods))),
        Host(f"ext.{NS}", "bookinfo", Kind.EXTERNAL_NAME, external_name="a.wild.test"),
        Host("*.wild.test", "x", Kind.SERVICE_ENTRY, (ip_address("240.240.0.9"),)),
    )


class World:
    """`vm` with the programs on its devices and a worker beside them; `server` with dnsmasq."""

    def __init__(
        self,
        make: Callable[[str], Namespace],
        compiled: Compiled,
        folder: Path,
        undo: contextlib.ExitStack,
    ) -> None:
        self.vm, self.server, self.folder = make("vm"), make("server"), folder
        self.vm.sh(SETUP.format(server=self.server.name))
        self.server.sh(SERVER)
        self.bpffs = folder / "bpf"
        self.hosts = {host.name: host for host in hosts()}
        self.locale = Locale("vm", search=("corp.test",), own_zones=("own.test",))
        self.log: list[str] = []
        self._undo = undo
        pin.prepare(self.bpffs)
        self._undo.callback(command.run, ["umount", str(self.bpffs)])
        self.maps = pin.open_maps(self.bpffs)
        for each in self.maps.values():
            self._undo.callback(each.close)
        flags = PolicyFlag.DNS | PolicyFlag.DNS_ALL | PolicyFlag.IPV4 | PolicyFlag.IPV6
        self.maps[Map.POLICY].update(
            struct.pack("=I", 0), POLICY.pack(0, 0, 0, int(flags), MARK, *([0] * 56))
        )
        for device, name in (("eth0", "dns_egress"), ("lo", "dns_lo")):
            self.attach(compiled, device, name)
        self.dnsmasq(self.server)
        self.loop = asyncio.new_event_loop()
        self._ended = threading.Event()
        ready = threading.Event()
        self.vm.thread(lambda: self._run(ready))
        assert ready.wait(10)
        undo.callback(self._stop)

    def attach(self, compiled: Compiled, device: str, name: str, hook: Hook = Hook.EGRESS) -> None:
        index = json.loads(self.vm.sh(f"ip -json link show {device}"))[0]["ifindex"]
        fds = {number: each.fd for number, each in self.maps.items()}
        program = bytecode.load(compiled[name], fds)
        self.vm.call(tc.attach, self.bpffs, index, hook, name, program)
        os.close(program)

    def container(self, compiled: Compiled, box: Namespace) -> None:
        """A namespace behind a bridge, whose queries the programs meet as they come in."""
        self.vm.sh(
            f"ip link add br0 type bridge; ip link add c0 type veth peer b0 netns {box.name}"
        )
        self.vm.sh("ip address add 10.55.0.1/24 dev br0; ip address add fd55::1/64 dev br0 nodad")
        self.vm.sh("ip link set c0 master br0; ip link set c0 up; ip link set br0 up")
        box.sh("ip address add 10.55.0.2/24 dev b0; ip address add fd55::2/64 dev b0 nodad")
        box.sh("ip link set b0 up; ip route add default via 10.55.0.1")
        box.sh("ip -6 route add default via fd55::1")
        self.vm.sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
        self.vm.sh("nft add rule inet strict output oifname br0 accept")
        self.server.sh(
            "ip route add 10.55.0.0/24 via 10.99.0.2; ip -6 route add fd55::/64 via fd99::2"
        )
        self.attach(compiled, "br0", "dns_bridge", Hook.INGRESS)

    def dnsmasq(self, where: Namespace) -> None:
        config = self.folder / "dnsmasq.conf"
        config.write_text(DNSMASQ)
        self.spawn(where, ["dnsmasq", f"--conf-file={config}"])
        ask = f"dig +tries=1 +time=1 @{SERVER4} www.other.test"
        wait(lambda: "192.0.2.1" in self.vm.sh(ask, check=False))

    def spawn(self, where: Namespace, argv: list[str], **more: Any) -> subprocess.Popen[bytes]:
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} | more
        child: subprocess.Popen[bytes] = where.call(subprocess.Popen, argv, **quiet)
        self._undo.callback(_end, child)
        return child

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.call_soon(ready.set)
        self.loop.run_forever()
        self.loop.close()
        self._ended.set()

    def _stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        assert self._ended.wait(10)

    def call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def plane(self) -> Plane:
        settings = Settings(-1, 1, TCP_PORT, MARK, str(self.bpffs))
        made = Plane(settings, lambda: (self.locale, tuple(self.hosts.values())), self.log.append)
        self.call(made.open())
        return made

    def dig(self, *words: str, server: str = SERVER4) -> str:
        argv = ["dig", f"@{server}", "+tries=1", "+time=2", *words]
        return self.vm.call(command.run, argv, check=False).stdout

    def short(self, *words: str, server: str = SERVER4) -> list[str]:
        return self.dig("+short", *words, server=server).splitlines()

    def state(self, place: State) -> int:
        return bpfmap.read_state(self.maps[Map.STATE], place)


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    child.wait(5)
    if child.stderr:
        child.stderr.close()


def wait(condition: Callable[[], bool], limit_s: float = 10) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def world(
    namespaces: Callable[[str], Namespace],
    compiled: Compiled,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    with contextlib.ExitStack() as undo:
        yield World(namespaces, compiled, tmp_path_factory.mktemp("world"), undo)


@pytest.fixture
def plane(world: World) -> Iterator[Plane]:
    made = world.plane()
    try:
        yield made
    finally:
        world.call(made.close())
