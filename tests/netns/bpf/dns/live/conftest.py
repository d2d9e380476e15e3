"""A VM whose uplink, lo and bridge run the DNS programs, a server, and a container behind it."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from interceptor.host import bpflink, tc, tcx
from interceptor.host.layout import CGROUPS, POLICY, Map, PolicyFlag, State
from interceptor.host.ringbuf import RingBuffer
from interceptor.host.tc import Hook
from interceptor.mesh.answer import Answers
from interceptor.mesh.model import Host, Kind, Locale

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
    """The VM's programs run over ``kernel``'s maps, by tcx or by clsact."""

    def __init__(
        self, kernel: Any, make: Callable[[str], Any], folder: Path, *, by_tcx: bool
    ) -> None:
        self.kernel, self.folder, self.by_tcx = kernel, folder, by_tcx
        self.links: list[int] = []
        self.vm, self.server, self.container = make("vm"), make("server"), make("container")
        names = {"server": self.server.name, "container": self.container.name}
        self.vm.sh(SETUP.format(**names))
        self.server.sh(SERVER_SETUP)
        self.container.sh(CONTAINER_SETUP)
        self.children = [self.dnsmasq(self.server, ZONE), self.dnsmasq(self.vm, FORWARD)]
        self.wait_neighbours()
        self.ring = RingBuffer(kernel.maps[Map.HANDOVER])
        self.set_policy()
        self.attach("eth0", Hook.EGRESS, "dns_egress")
        self.attach("br0", Hook.EGRESS, "dns_egress")
        self.attach("lo", Hook.EGRESS, "dns_lo")
        self.attach("br0", Hook.INGRESS, "dns_bridge")

    def wait_neighbours(self) -> None:
        """A first neighbour solicitation that comes before the other end is up is lost, and
        repeated after a second only (RFC 4861 section 10, RETRANS_TIMER)."""
        for space in (self.vm, self.container):
            for _ in range(10):
                if self.ask(space, SERVER6, "www.other.test") != "lost":
                    break

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
        if self.by_tcx:
            place = (descriptor, index, tcx.ATTACH[hook])
            self.links.append(self.vm.call(bpflink.create_on_device, *place))
        else:
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
            *(len(refs[0]), len(refs[1]), *numbers, more.get("sidecar_cgroup", 0)),
        )
        self.kernel.maps[Map.POLICY].update(struct.pack("=I", 0), value)

    def set_state(self, place: State, value: int) -> None:
        self.kernel.maps[Map.STATE].update(struct.pack("=I", place), struct.pack("=Q", value))

    def ask(
        self, space: Any, server: str, name: str, kind: str = "A", *rest: str, **how: Any
    ) -> str:
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
        for link in self.links:
            os.close(link)
        self.ring.close()


def depth(path: str) -> int:
    """The cgroup's level: how many folders below the hierarchy's root."""
    level = 0
    place = Path(path)
    while not place.joinpath("cgroup.procs").exists() or place.joinpath("cgroup.type").exists():
        level, place = level + 1, place.parent
    return level


@pytest.fixture(scope="module", params=["tcx", "clsact"])
def world(
    request: pytest.FixtureRequest,
    module_kernel: Any,
    namespaces: Callable[[str], Any],
    publish: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    by_tcx = request.param == "tcx"
    folder = tmp_path_factory.mktemp("live")
    opened = World(module_kernel, namespaces, folder, by_tcx=by_tcx)
    publish(module_kernel, Answers.build(HOSTS, Locale("vm", search=("corp.test",))))
    try:
        yield opened
    finally:
        opened.close()


@pytest.fixture(autouse=True)
def plain(world: World) -> Iterator[None]:
    yield
    world.set_policy()
    world.set_state(State.WORKER_NS, 0)
