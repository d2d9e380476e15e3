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
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.utils import rdpcap

from interceptor.dns import entry, view
from interceptor.dns.frame import Settings
from interceptor.dns.plane import Plane
from interceptor.host import bpfmap, bytecode, command, pin, tc
from interceptor.host.layout import POLICY, SPECS, Map, PolicyFlag, State, ValueFlag
from interceptor.host.tc import Hook
from interceptor.mesh.model import AppProtocol, Endpoint, Host, Kind, Locale, Port
from interceptor.mesh.table import Difference

if TYPE_CHECKING:
    from tests.conftest import Namespace
    from tests.netns.bpf.conftest import Compiled

pytestmark = pytest.mark.root

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
            struct.pack("=I", 0), POLICY.pack(0, 0, 0, int(flags), MARK, *([0] * 55))
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
        return view.state(self.maps, place)


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


SERVERS = pytest.mark.parametrize(
    "server", [SERVER4, SERVER6, f"{LINK_LOCAL}%eth0", "127.0.0.53", "::1"]
)


@SERVERS
def test_what_takes_more_than_addresses_is_answered_by_the_worker(
    world: World, plane: Plane, server: str
) -> None:
    expanded = world.short("reviews.bookinfo.corp.test", server=server)
    assert expanded == [f"reviews.{NS}.", "10.0.0.1"]
    assert world.short("ext.bookinfo", server=server) == ["a.wild.test.", "240.240.0.9"]
    assert world.short("-x", "10.0.0.1", server=server) == [f"reviews.{NS}."]
    assert world.short("-x", "fd00::1", server=server) == [f"reviews.{NS}."]
    service = world.short("_http._tcp.reviews.bookinfo", "SRV", server=server)
    assert service == [f"0 100 9080 reviews.{NS}."]
    assert len(world.short("many.bookinfo", "+bufsize=4096", "+ignore", server=server)) == 100
    assert "status: NXDOMAIN" in world.dig("no.own.test", server=server)
    assert "BADVERS" in world.dig("reviews.bookinfo", "+edns=1", "+noednsneg", server=server)
    # ... and what does not, by the kernel.
    assert world.short("reviews.bookinfo", server=server) == ["10.0.0.1"]
    assert world.short("x.y.wild.test", server=server) == ["240.240.0.9"]


def test_both_planes_count_what_they_answer(world: World, plane: Plane) -> None:
    def count(plane_name: str, result: str) -> int:
        return plane.counters.queries.get((plane_name, result, "A"), 0)

    wait(lambda: plane.is_alive)
    before = [count(name, "answer") for name in ("ebpf", "handover")]
    events = plane.counters.events.get("handover", 0)
    world.short("reviews.bookinfo")
    world.short("reviews.bookinfo.corp.test")
    world.short("www.other.test")
    wait(lambda: count("ebpf", "answer") == before[0] + 1)
    wait(lambda: count("handover", "answer") == before[1] + 1)
    assert count("ebpf", "pass") > 0
    assert not any(result == "handover" for _, result, _ in plane.counters.queries)
    assert plane.counters.events["handover"] == events + 1


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_socket_bound_to_its_device_gets_the_answer(
    world: World, plane: Plane, family: socket.AddressFamily
) -> None:
    query = bytes.fromhex("471101000001000000000000")
    query += b"\7reviews\10bookinfo\4corp\4test\0" + bytes.fromhex("00010001")

    def ask() -> bytes:
        with socket.socket(family, socket.SOCK_DGRAM) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
            client.settimeout(2)
            client.connect((SERVER4 if family == socket.AF_INET else SERVER6, 53))
            client.send(query)
            return client.recv(2000)

    answer = world.vm.call(ask)
    assert answer[:2] == query[:2]
    assert answer[-4:] == ip_address("10.0.0.1").packed


def test_a_client_whose_address_is_another_link_s_gets_the_answer_too(
    world: World, plane: Plane
) -> None:
    world.vm.sh("ip link add other type veth peer name beyond; ip link set beyond up")
    world.vm.sh("ip address add 10.55.0.1/24 dev other; ip link set other up")
    world.server.sh("ip route add 10.55.0.0/24 via 10.99.0.2")
    try:
        answer = world.short("-b", "10.55.0.1", "reviews.bookinfo.corp.test")
        assert answer == [f"reviews.{NS}.", "10.0.0.1"]
    finally:
        world.vm.sh("ip link del other")
        world.server.sh("ip route del 10.55.0.0/24")


def ghost(world: World) -> None:
    """A name that the kernel takes for the worker's, and the worker has never heard of."""
    place = world.maps[Map.NAMES].lookup(view.index(world.state(State.VIEW)))
    assert place is not None
    spec = SPECS[Map.NAMES].inner
    assert spec is not None
    names = bpfmap.open_id(int.from_bytes(place, "little"), spec)
    key = entry.encode_key("ghost.test", 0)
    names.update(key, entry.encode_value(key, ValueFlag.HANDOVER))
    names.close()


@pytest.mark.parametrize("server", [SERVER4, SERVER6, f"{LINK_LOCAL}%eth0"])
def test_a_query_for_nobody_goes_on_to_its_server_byte_for_byte(
    world: World, plane: Plane, server: str
) -> None:
    ghost(world)
    file = world.folder / "ghost.pcap"
    argv = ["tcpdump", "-U", "-n", "-i", "eth0", "-w", str(file), "udp dst port 53"]
    dump = world.spawn(world.server, argv, stderr=subprocess.PIPE)
    assert dump.stderr is not None
    assert b"listening" in dump.stderr.readline()
    query = bytes.fromhex("471101000001000000000001") + b"\5gHoSt\4TEST\0"
    query += bytes.fromhex("00010001" + "000029100000008000000c000a00080102030405060708")

    def ask() -> tuple[bytes, int]:
        place = socket.getaddrinfo(server, 53, type=socket.SOCK_DGRAM)[0]
        with socket.socket(place[0], socket.SOCK_DGRAM) as client:
            client.settimeout(2)
            client.connect(place[4])
            client.send(query)
            return client.recv(2000), client.getsockname()[1]

    answer, port = world.vm.call(ask)
    assert ip_address("192.0.2.66").packed in answer
    wait(lambda: len(rdpcap(str(file))) > 0)
    dump.send_signal(signal.SIGINT)
    dump.wait(5)
    (seen,) = rdpcap(str(file))
    assert bytes(seen[UDP].payload) == query
    assert seen[UDP].sport == port
    network = seen[IP] if IP in seen else seen[IPv6]
    fresh = network.copy()
    del fresh[UDP].chksum
    assert type(network)(bytes(fresh))[UDP].chksum == seen[UDP].chksum
    wait(lambda: plane.counters.events.get("handover-returned", 0) == 1)


def test_a_container_s_queries_are_answered_or_go_on_to_their_server(
    world: World, plane: Plane, namespaces: Callable[[str], Namespace], compiled: Compiled
) -> None:
    box = namespaces("box")
    world.container(compiled, box)
    ghost(world)

    def ask(server: str, name: str) -> list[str]:
        argv = ["dig", f"@{server}", "+tries=1", "+time=2", "+short", name]
        return box.call(command.run, argv, check=False).stdout.splitlines()

    wait(lambda: ask(SERVER6, "www.other.test") == ["192.0.2.1"])
    for server in (SERVER4, SERVER6):
        assert ask(server, "reviews.bookinfo") == ["10.0.0.1"]
        assert ask(server, "reviews.bookinfo.corp.test") == [f"reviews.{NS}.", "10.0.0.1"]
        assert ask(server, "ghost.test") == ["192.0.2.66"]
    wait(lambda: plane.counters.queries.get(("bridge", "answer", "A"), 0) == 2)


def test_without_a_worker_its_names_pass_and_the_kernel_s_are_answered(world: World) -> None:
    first = world.plane()
    assert world.state(State.WORKER_NS) > 0
    world.call(first.close())
    assert world.state(State.WORKER_NS) == 0
    assert world.short("reviews.bookinfo.corp.test") == ["192.0.2.99"]
    assert world.short("reviews.bookinfo") == ["10.0.0.1"]


def test_a_killed_worker_is_replaced_and_the_kernel_never_misses_a_name(
    world: World, plane: Plane
) -> None:
    former = plane.pid
    assert former is not None
    number = world.state(State.VIEW)
    os.kill(former, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while world.state(State.VIEW) == number:
        assert world.short("reviews.bookinfo") == ["10.0.0.1"]
        assert time.monotonic() < deadline
    wait(lambda: plane.is_alive and plane.pid != former)
    assert world.short("reviews.bookinfo.corp.test") == [f"reviews.{NS}.", "10.0.0.1"]


def test_a_stopped_worker_loses_the_kernel_s_trust(world: World, plane: Plane) -> None:
    assert plane.pid is not None
    os.kill(plane.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        wait(lambda: world.short("reviews.bookinfo.corp.test", "+time=1") == ["192.0.2.99"], 4)
        assert time.monotonic() - began < 3
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(plane.pid, signal.SIGCONT)


def test_a_change_is_answered_at_once_by_both(world: World, plane: Plane) -> None:
    fresh = Host("new.test", "x", Kind.SERVICE_ENTRY, (ip_address("10.9.9.9"),))
    assert world.short("new.test") == []
    world.call(plane.send(Difference((fresh,))))
    wait(lambda: world.short("new.test") == ["10.9.9.9"], 1)
    assert world.short("new.test.corp.test") == ["new.test.", "10.9.9.9"]
    assert world.short("-x", "10.9.9.9") == ["new.test."]
    world.call(plane.send(Difference(removed=("new.test",))))
    wait(lambda: world.short("new.test") == [], 1)
    assert world.short("-x", "10.9.9.9") == []


def test_a_worker_without_its_maps_says_what_is_missing(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    async def start() -> None:
        made = Plane(
            Settings(-1, 1, TCP_PORT, MARK, str(world.folder / "absent")),
            lambda: (world.locale, ()),
            world.log.append,
        )
        with pytest.raises(TimeoutError):
            await made.open(timeout_s=1)
        await made.close()

    world.call(start())
    assert "state: no such map" in capfd.readouterr().err


class Asking:
    """A client that asks for one name as fast as it is answered, and keeps what it is told."""

    def __init__(self, world: World, name: str) -> None:
        self.answers: dict[bytes, int] = {}
        self.lost = 0
        self._stop, self._ended = threading.Event(), threading.Event()
        labels = b"".join(bytes((len(part),)) + part for part in name.encode().split(b"."))
        self._query = bytes.fromhex("01000001000000000000") + labels
        self._query += bytes.fromhex("0000010001")
        world.vm.thread(self._run)

    def _run(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(1)
            client.connect((SERVER4, 53))
            number = 0
            while not self._stop.is_set():
                number = (number + 1) & 0xFFFF
                client.send(number.to_bytes(2, "big") + self._query)
                try:
                    answer = client.recv(2000)[-4:]
                except TimeoutError:
                    self.lost += 1
                    continue
                self.answers[answer] = self.answers.get(answer, 0) + 1
        self._ended.set()

    def stop(self) -> None:
        self._stop.set()
        assert self._ended.wait(5)


def test_no_query_is_lost_or_answered_by_others_while_everything_changes(
    world: World, plane: Plane
) -> None:
    ours = ip_address("10.0.0.1").packed
    kernels, workers = (
        Asking(world, "reviews.bookinfo"),
        Asking(world, "reviews.bookinfo.corp.test"),
    )
    others = {f"h{n}.test": host_of(n) for n in range(3000)}
    try:
        world.hosts |= others
        for _ in range(4):
            world.call(plane.load())
        for n in range(200):
            world.call(plane.send(Difference((host_of(n % 20, n),))))
        workers.stop()
        for _ in range(3):
            former, number = plane.pid, world.state(State.VIEW)
            assert former is not None
            os.kill(former, signal.SIGKILL)
            wait(partial(is_replaced, world, plane, former, number), 30)
    finally:
        kernels.stop()
        workers.stop()
        for name in others:
            del world.hosts[name]
    for asking in (kernels, workers):
        assert (set(asking.answers), asking.lost) == ({ours}, 0)
        assert asking.answers[ours] > 500


def is_replaced(world: World, plane: Plane, former: int, number: int) -> bool:
    """Whether another worker than ``former`` has loaded its table into the other view."""
    return world.state(State.VIEW) != number and plane.is_alive and plane.pid != former


def host_of(number: int, shift: int = 0) -> Host:
    addresses = (ip_address("10.128.0.0") + number + (shift << 10),)
    return Host(f"h{number}.test", "x", Kind.SERVICE_ENTRY, addresses)
