"""The DNS programs on devices: a VM with an uplink, a stub on lo, a container behind a bridge."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from dnslib import DNSRecord

from interceptor.host import bpflink, tc
from interceptor.host.bpf import AttachType
from interceptor.host.layout import (
    CGROUPS,
    HANDOVER,
    NUMBER_KEY,
    POLICY,
    Map,
    Network,
    Number,
    Place,
    PolicyFlag,
    State,
    network_key,
)
from interceptor.host.ringbuf import RingBuffer
from interceptor.host.tc import Hook
from interceptor.mesh.answer import Answers
from interceptor.mesh.model import Host, Kind, Locale

pytestmark = pytest.mark.root

SERVER4, SERVER6, STUB = "10.99.0.1", "fd99::1", "127.0.0.53"
MARK = 0x1DC0
ASKER = Path(__file__).with_name("asker.py")
ALL = PolicyFlag.DNS | PolicyFlag.DNS_ALL | PolicyFlag.IPV4 | PolicyFlag.IPV6
NS = "bookinfo.svc.cluster.local"
HOSTS = [
    Host(f"v4.{NS}", "bookinfo", Kind.SERVICE, (ip_address("10.0.0.4"),)),
    Host(
        f"reviews.{NS}",
        "bookinfo",
        Kind.SERVICE,
        (ip_address("10.0.0.1"), ip_address("10.0.0.2"), ip_address("fd00::1")),
    ),
    Host("*.wild.test", "x", Kind.SERVICE_ENTRY, (ip_address("240.240.0.9"),)),
]
DNSMASQ = """
no-hosts
no-resolv
no-daemon
pid-file=
log-queries
log-facility={log}
bind-interfaces
{more}
"""
ZONE = "listen-address=10.99.0.1,fd99::1\nhost-record=www.other.test,192.0.2.1,2001:db8::1"
FORWARD = f"listen-address={STUB},::1\nserver={SERVER4}"
ETHTOOL, SET_TX_CHECKSUM = 0x8946, 0x17  # linux/sockios.h, linux/ethtool.h

SETUP = """
ip link add eth0 type veth peer name eth0 netns {server}
ip address add 10.99.0.2/24 dev eth0; ip address add fd99::2/64 dev eth0 nodad
ip link set eth0 up
ip link add br0 type bridge
ip address add 10.55.0.1/24 dev br0; ip address add fd55::1/64 dev br0 nodad
ip link set br0 up
ip link add c0 type veth peer name eth0 netns {container}
ip link set c0 master br0; ip link set c0 up
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.eth0.rp_filter=1
sysctl -qw net.ipv4.conf.br0.rp_filter=1
nft 'table inet t {{
  chain arriving {{ type filter hook input priority 0; policy drop;
    ct state established accept; iif lo accept; meta l4proto icmpv6 accept; }}
  chain through {{ type filter hook forward priority 0; oif br0 ct state != established drop; }}
  chain leaving {{ type nat hook postrouting priority 100; oif eth0 masquerade; }}
}}'
"""
SERVER_SETUP = """
ip address add 10.99.0.1/24 dev eth0; ip address add fd99::1/64 dev eth0 nodad
ip link set eth0 up
"""
CONTAINER_SETUP = """
ip address add 10.55.0.2/24 dev eth0; ip address add fd55::2/64 dev eth0 nodad
ip link set eth0 up
ip route add default via 10.55.0.1; ip -6 route add default via fd55::1
"""


class World:
    """The VM's programs run over ``kernel``'s maps."""

    def __init__(self, kernel: Any, make: Callable[[str], Any], folder: Path) -> None:
        self.kernel, self.folder = kernel, folder
        self.vm, self.server, self.container = make("vm"), make("server"), make("container")
        names = {"server": self.server.name, "container": self.container.name}
        self.vm.sh(SETUP.format(**names))
        self.server.sh(SERVER_SETUP)
        self.container.sh(CONTAINER_SETUP)
        self.children = [self.dnsmasq(self.server, ZONE), self.dnsmasq(self.vm, FORWARD)]
        self.ring = RingBuffer(kernel.maps[Map.HANDOVER])
        self.set_policy()
        self.attach("eth0", Hook.EGRESS, "dns_egress")
        self.attach("br0", Hook.EGRESS, "dns_egress")
        self.attach("lo", Hook.EGRESS, "dns_lo")
        self.attach("br0", Hook.INGRESS, "dns_bridge")

    def dnsmasq(self, space: Any, more: str) -> subprocess.Popen[bytes]:
        log = self.log(space)
        log.touch(mode=0o666)
        config = self.folder / f"{space.name}.conf"
        config.write_text(DNSMASQ.format(log=log, more=more))
        child: subprocess.Popen[bytes] = space.call(
            subprocess.Popen, ["dnsmasq", "--user=root", f"--conf-file={config}"]
        )
        end = time.monotonic() + 10
        while "started" not in log.read_text():
            assert time.monotonic() < end
            time.sleep(0.02)
        return child

    def log(self, space: Any) -> Path:
        return self.folder / f"{space.name}.log"

    def attach(self, device: str, hook: Hook, program: str) -> None:
        index = json.loads(self.vm.sh(f"ip -json link show {device}"))[0]["ifindex"]
        descriptor = self.kernel.load(program)
        self.vm.call(tc.attach, self.folder, index, hook, program, descriptor)

    def set_policy(self, flags: PolicyFlag = ALL, **more: Any) -> None:
        """``more``: sidecar_uid, sidecar_gid, exclude and include (cgroups), lease_ns."""
        refs = [[(os.stat(path).st_ino, depth(path), 0) for path in more.get(kind, ())]
                for kind in ("exclude", "include")]  # fmt: skip
        padded = [ref + [(0, 0, 0)] * (CGROUPS - len(ref)) for ref in refs]
        numbers = [number for ref in padded[0] + padded[1] for number in ref]
        value = POLICY.pack(
            *(0, more.get("lease_ns", 0), 0, int(flags), MARK),
            *(more.get("sidecar_uid", 2**32 - 1), more.get("sidecar_gid", 2**32 - 1), 0, 0, 0),
            *(len(refs[0]), len(refs[1]), *numbers),
        )
        self.kernel.maps[Map.POLICY].update(struct.pack("=I", 0), value)

    def set_state(self, place: State, value: int) -> None:
        self.kernel.maps[Map.STATE].update(struct.pack("=I", place), struct.pack("=Q", value))

    def ask(self, space: Any, server: str, name: str, kind: str = "A", *rest: str, **how: Any) -> str:
        """``how``: user, group, and cgroup of the asking process."""
        cgroup = how.pop("cgroup", None)

        def join() -> None:
            Path(cgroup, "cgroup.procs").write_text(str(os.getpid()))

        argv = [sys.executable, str(ASKER), server, name, kind, *rest]
        done = space.call(
            subprocess.run, argv, capture_output=True, text=True, timeout=20,
            preexec_fn=join if cgroup else None, **how,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return str(done.stdout).strip()

    def close(self) -> None:
        for child in self.children:
            child.terminate()
            child.wait()
        self.ring.close()


def depth(path: str) -> int:
    """The cgroup's level: how many folders below the hierarchy's root."""
    level = 0
    place = Path(path)
    while not place.joinpath("cgroup.procs").exists() or place.joinpath("cgroup.type").exists():
        level, place = level + 1, place.parent
    return level


@pytest.fixture(scope="module")
def world(
    module_kernel: Any,
    namespaces: Callable[[str], Any],
    publish: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    opened = World(module_kernel, namespaces, tmp_path_factory.mktemp("live"))
    publish(module_kernel, Answers.build(HOSTS, Locale("vm", search=("corp.test",))))
    try:
        yield opened
    finally:
        opened.close()


@pytest.fixture(autouse=True)
def _plain(world: World) -> Iterator[None]:
    yield
    world.set_policy()
    world.set_state(State.WORKER_NS, 0)


@pytest.mark.parametrize("server", [SERVER4, SERVER6, STUB, "::1"])
def test_mesh_names_are_answered_and_nobody_hears_of_them(world: World, server: str) -> None:
    """INPUT takes nothing but established flows, and strict reverse paths are wanted."""
    world.log(world.server).write_text("")
    for kind, wanted in (("A", "10.0.0.1 10.0.0.2"), ("AAAA", "fd00::1"), ("TXT", "rcode 0")):
        assert world.ask(world.vm, server, "reviews.bookinfo", kind) == wanted
    assert world.ask(world.vm, server, "any.wild.test") == "240.240.0.9"
    assert world.ask(world.vm, server, "www.other.test") == "192.0.2.1"
    heard = world.log(world.server).read_text()
    assert "reviews" not in heard
    assert "wild" not in heard


@pytest.mark.parametrize("server", [SERVER4, SERVER6])
def test_a_masqueraded_container_is_answered_by_hand(world: World, server: str) -> None:
    assert world.ask(world.container, server, "reviews.bookinfo") == "10.0.0.1 10.0.0.2"
    assert world.ask(world.container, server, "www.other.test") == "192.0.2.1"
    world.set_policy(ALL | PolicyFlag.EXCLUDE_UIDS, include=())
    assert world.ask(world.container, server, "v4.bookinfo") == "10.0.0.4"


def test_checksums_are_right_where_no_device_makes_them(world: World) -> None:
    """tcpdump in the container checks what really arrives."""
    for space in (world.container, world.vm):
        space.call(set_tx_checksum, "eth0", False)
    watch = ["tcpdump", "-i", "eth0", "-nvv", "-c", "4", "--immediate-mode", "udp src port 53"]
    child = world.container.call(
        subprocess.Popen, watch, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        while "listening" not in child.stderr.readline():
            pass
        for server in (SERVER4, SERVER6):
            for kind in ("A", "AAAA"):
                world.ask(world.container, server, "reviews.bookinfo", kind)
        said, _ = child.communicate(timeout=10)
    finally:
        child.kill()
        for space in (world.container, world.vm):
            space.call(set_tx_checksum, "eth0", True)
    assert said.count("udp sum ok") == 4, said
    assert world.ask(world.vm, SERVER4, "reviews.bookinfo") == "10.0.0.1 10.0.0.2"


def set_tx_checksum(device: str, wanted: bool) -> None:
    """`ethtool -K DEVICE tx on|off`."""
    import ctypes

    value = ctypes.create_string_buffer(struct.pack("=II", SET_TX_CHECKSUM, wanted))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        ifreq = struct.pack("=16sQ", device.encode(), ctypes.addressof(value)) + b"\0" * 16
        fcntl.ioctl(any_socket, ETHTOOL, ifreq)


def test_libc_and_dig_take_the_answers(world: World) -> None:
    folder = Path("/etc/netns", world.vm.name)
    folder.mkdir(parents=True)
    try:
        (folder / "resolv.conf").write_text(f"nameserver {SERVER4}\noptions timeout:1 edns0\n")
        enter = ["ip", "netns", "exec", world.vm.name]
        argv = [*enter, "getent", "ahosts", "reviews.bookinfo"]
        found = subprocess.run(argv, capture_output=True, text=True, timeout=20).stdout
        assert {line.split()[0] for line in found.splitlines()} == {"10.0.0.1", "10.0.0.2", "fd00::1"}
    finally:
        (folder / "resolv.conf").unlink()
        folder.rmdir()
    said = world.vm.sh(f"dig +tries=1 +time=1 @{SERVER6} rEviews.bookinfo.svc MX")
    assert "status: NOERROR" in said
    assert "flags: qr aa rd ra; QUERY: 1, ANSWER: 0, AUTHORITY: 1, ADDITIONAL: 1" in said
    assert "rEviews.bookinfo.svc." in said


def test_a_thousand_queries_are_all_answered(world: World) -> None:
    def flood() -> int:
        got = 0
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.settimeout(1)
            one.connect((SERVER4, 53))
            for number in range(1000):
                question = DNSRecord.question(f"n{number}.wild.test")
                one.send(bytes(question.pack()))
                answer = DNSRecord.parse(one.recv(512))
                assert answer.header.id == question.header.id
                got += str(answer.a.rdata) == "240.240.0.9"
        return got

    assert world.vm.call(flood) == 1000


def test_a_query_for_the_worker_is_handed_over_without_an_error(world: World) -> None:
    name = "reviews.bookinfo.corp.test"
    assert world.ask(world.vm, SERVER4, name) == "rcode 5", "nobody reads: dnsmasq refuses"
    world.set_state(State.WORKER_NS, 1 << 62)
    for space, server, place in (
        (world.vm, SERVER4, Place.EGRESS),
        (world.vm, SERVER6, Place.EGRESS),
        (world.vm, STUB, Place.LO),
        (world.container, SERVER4, Place.BRIDGE),
    ):
        assert world.ask(space, server, name) == "lost"
        (record,) = world.ring.read()
        length, _, where, _, packet = HANDOVER.unpack(record)
        assert where == place
        version = 6 if ":" in server else 4
        assert packet[0] >> 4 == version
        message = packet[:length][48 if version == 6 else 28 :]
        assert str(DNSRecord.parse(message).q.qname) == f"{name}."


def test_the_agents_mark_passes(world: World) -> None:
    assert world.ask(world.vm, SERVER4, "v4.bookinfo", "A", str(MARK)) == "rcode 5"
    assert world.ask(world.vm, SERVER4, "v4.bookinfo", "A", str(MARK + 1)) == "10.0.0.4"


def test_owners_by_user(world: World) -> None:
    number = NUMBER_KEY.pack(Number.EXCLUDE_UID, 0, 65001)
    world.kernel.maps[Map.NUMBERS].update(number, b"\1")
    world.kernel.maps[Map.NUMBERS].update(NUMBER_KEY.pack(Number.INCLUDE_UID, 0, 65002), b"\1")
    world.set_policy(ALL | PolicyFlag.SIDECAR | PolicyFlag.EXCLUDE_UIDS, sidecar_uid=65003)
    asked = {uid: world.ask(world.vm, SERVER4, "v4.bookinfo", user=uid) for uid in USERS}
    assert asked == {0: ANSWERED, 65001: PASSED, 65002: ANSWERED, 65003: PASSED}
    world.set_policy(ALL | PolicyFlag.INCLUDE_UIDS)
    asked = {uid: world.ask(world.vm, SERVER4, "v4.bookinfo", user=uid) for uid in USERS}
    assert asked == {0: PASSED, 65001: PASSED, 65002: ANSWERED, 65003: PASSED}


USERS = (0, 65001, 65002, 65003)
ANSWERED, PASSED = "10.0.0.4", "rcode 5"


def test_owners_by_group_and_cgroup(world: World, cgroup: str) -> None:
    kernel = world.kernel
    kernel.maps[Map.NUMBERS].update(NUMBER_KEY.pack(Number.EXCLUDE_GID, 0, 65001), b"\1")
    kernel.maps[Map.NUMBERS].update(NUMBER_KEY.pack(Number.INCLUDE_GID, 0, 65002), b"\1")
    groups = (0, 65001, 65002, 65003)
    descriptor = os.open(cgroup, os.O_RDONLY)
    link = bpflink.create(kernel.load("owner"), descriptor, AttachType.CGROUP_INET_SOCK_CREATE)

    def asked(where: str | None = cgroup) -> dict[int, str]:
        return {
            gid: world.ask(world.vm, SERVER4, "v4.bookinfo", group=gid, extra_groups=[], cgroup=where)
            for gid in groups
        }

    try:
        world.set_policy(ALL | PolicyFlag.SIDECAR | PolicyFlag.EXCLUDE_GIDS, sidecar_gid=65003)
        assert asked() == {0: ANSWERED, 65001: PASSED, 65002: ANSWERED, 65003: PASSED}
        world.set_policy(ALL | PolicyFlag.INCLUDE_GIDS)
        assert asked() == {0: PASSED, 65001: PASSED, 65002: ANSWERED, 65003: PASSED}
        world.set_policy(ALL | PolicyFlag.INCLUDE_GIDS, include=[cgroup])
        assert set(asked().values()) == {ANSWERED}
        assert asked(None)[0] == PASSED
    finally:
        os.close(link)
        os.close(descriptor)
    world.set_policy(exclude=[cgroup])
    assert set(asked().values()) == {PASSED}
    assert set(asked(None).values()) == {ANSWERED}


def test_servers_that_are_not_captured_pass(world: World) -> None:
    key = network_key(Network.SERVER, 0, ip_network(f"{SERVER4}/32"))
    world.kernel.maps[Map.NETWORKS].update(key, b"\1")
    world.set_policy(ALL & ~PolicyFlag.DNS_ALL)
    assert world.ask(world.vm, SERVER4, "v4.bookinfo") == ANSWERED
    assert world.ask(world.container, SERVER4, "v4.bookinfo") == ANSWERED
    assert world.ask(world.vm, SERVER6, "v4.bookinfo") == PASSED
    assert world.ask(world.container, SERVER6, "v4.bookinfo") == PASSED


def test_a_lease_that_has_run_out_lets_go_only_where_that_is_wanted(world: World) -> None:
    world.set_state(State.BEAT_NS, 1)
    world.set_policy(lease_ns=10**9)
    assert world.ask(world.vm, SERVER4, "v4.bookinfo") == ANSWERED
    world.set_policy(ALL | PolicyFlag.RELEASE, lease_ns=10**9)
    assert world.ask(world.vm, SERVER4, "v4.bookinfo") == PASSED
    world.set_state(State.BEAT_NS, time.monotonic_ns())
    world.set_policy(ALL | PolicyFlag.RELEASE, lease_ns=10**11)
    assert world.ask(world.vm, SERVER4, "v4.bookinfo") == ANSWERED
