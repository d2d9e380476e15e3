"""A VM whose connections are steered by the programs of `bpf/`, and a stand-in for its sidecar."""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any

import pytest

from interceptor.host import bpflink, probe
from interceptor.host.bpf import AttachType
from interceptor.host.layout import (
    ALIAS4_NETWORKS,
    ALIAS6_NETWORK,
    NUMBER_KEY,
    POLICY,
    TCP_RESULTS,
    Map,
    Network,
    Number,
    PolicyFlag,
    State,
    network_key,
)
from tests.netns.bpf.tcp.client import Child, call, cookie

SIDECAR, MARK = 1337, 0x1DC1
OUTBOUND, INBOUND, DNS = 15001, 15006, 15053
VM4, VM6 = "10.0.0.2", "fd10::2"
PEER4, PEER6 = "10.0.0.1", "fd10::1"
VIP4, VIP6 = "10.96.0.7", "2001:2::7"
SERVICES = ("10.96.0.0/12", "2001:2::/48")
EVERYWHERE = PolicyFlag.IPV4 | PolicyFlag.IPV6 | PolicyFlag.OUTBOUND | PolicyFlag.SIDECAR
LISTENERS = tuple(
    f"{port}:{family}" for port in (OUTBOUND, INBOUND, DNS) for family in ("4:127.0.0.1", "6:::1")
)
LINKS = f"""
ip link add v0 type veth peer name p0 netns {{peer}}
ip addr add {VM4}/24 dev v0; ip addr add {VM6}/64 dev v0 nodad
ip link set v0 up
ip route add default via {PEER4}; ip -6 route add default via {PEER6}
{"".join(f"ip route add local {net} dev lo src {VM4} proto 157;" for net in ALIAS4_NETWORKS)}
ip -6 route add local {ALIAS6_NETWORK} dev lo src {VM6} proto 157
"""
PEER = f"""
ip addr add {PEER4}/24 dev p0; ip addr add {PEER6}/64 dev p0 nodad
ip link set p0 up
for net in 10.96.0.0/12 10.50.0.0/16; do ip route add local $net dev lo; done
for net in 2001:2::/48 fd50::/32; do ip -6 route add local $net dev lo; done
"""
STEERING = ("lookup", "original", "listen", "peername4", "peername6", "connect4", "connect6")
"""What steers connections, in the order in which it is safe to attach."""
JOIN = f"""
echo 0 >"$0"/cgroup.procs; namespace=$1; shift
exec nsenter --net=/run/netns/$namespace \\
    setpriv --reuid {SIDECAR} --regid {SIDECAR} --clear-groups "$@"
"""


class Steered:
    """Namespaces `vm` and `peer`, a cgroup of applications with the agent's in it, the programs.

    ``links`` are of attached programs, by name; all of a test's own.
    """

    count = itertools.count()

    def __init__(self, kernel: Any, make: Callable[[str], Any]) -> None:
        self.kernel = kernel
        self.vm, self.peer = make("vm"), make("peer")
        self.vm.sh(LINKS.format(peer=self.peer.name))
        self.peer.sh(PEER)
        self.cgroup = Path(f"{probe.cgroup_mount()}/itest-{os.getpid()}-{next(self.count)}")
        self.agent = self.cgroup / "agent"
        self.agent.mkdir(parents=True)
        self.links: dict[str, int] = {}
        self.standins: list[subprocess.Popen[str]] = []
        self.cookie = self.vm.call(cookie)
        self.policy()
        self.networks(Network.OUTBOUND, *SERVICES)
        self.networks(Network.OWN, f"{VM4}/32", f"{VM6}/128")

    # the daemon's part

    def policy(self, flags: PolicyFlag = EVERYWHERE, **changed: Any) -> None:
        """Write the policy: the stand-in's ports, whatever flags; cgroups as (id, level)."""
        fields = {"cookie": self.cookie, "lease_ns": 0, "digest": 0, "mark": MARK}
        fields |= {"uid": SIDECAR, "gid": SIDECAR, "excluded": (), "included": ()}
        fields |= {"sidecar_cgroup": 0} | changed
        groups: list[int] = []
        for kind in ("excluded", "included"):
            refs = [(*ref, 0) for ref in fields[kind]] + [(0, 0, 0)] * (8 - len(fields[kind]))
            groups += [number for ref in refs for number in ref]
        raw = POLICY.pack(
            *(fields["cookie"], fields["lease_ns"], 0, flags, fields["mark"]),
            *(fields["uid"], fields["gid"], OUTBOUND, INBOUND, DNS),
            *(len(fields["excluded"]), len(fields["included"]), *groups),
            fields["sidecar_cgroup"],
        )
        self.kernel.maps[Map.POLICY].update(struct.pack("=I", 0), raw)

    def networks(self, kind: Network, *networks: str) -> None:
        for text in networks:
            network = ip_network(text)
            assert isinstance(network, IPv4Network | IPv6Network)
            self.kernel.maps[Map.NETWORKS].update(network_key(kind, 0, network), b"\1")

    def numbers(self, kind: Number, *numbers: int) -> None:
        for number in numbers:
            self.kernel.maps[Map.NUMBERS].update(NUMBER_KEY.pack(kind, 0, number), b"\1")

    def state(self, index: State, value: int) -> None:
        self.kernel.maps[Map.STATE].update(struct.pack("=I", index), struct.pack("=Q", value))

    def counted(self) -> dict[str, int]:
        """The counters that are not zero, by their names."""
        counts = self.kernel.maps[Map.TCP_COUNTS]
        found = {name: counts.sum(struct.pack("=I", i)) for i, name in enumerate(TCP_RESULTS)}
        return {name: count for name, count in found.items() if count}

    def attach(self, *names: str) -> None:
        for name in names or STEERING:
            attach = self.kernel.compiled[name].attach
            where: str | Path = self.agent if name in ("original", "listen") else self.cgroup
            if attach is AttachType.SK_LOOKUP:
                where = f"/run/netns/{self.vm.name}"
            target = os.open(where, os.O_RDONLY)
            try:
                self.links[name] = bpflink.create(self.kernel.load(name), target, attach)
            finally:
                os.close(target)

    def detach(self, *names: str) -> None:
        for name in names or tuple(self.links):
            os.close(self.links.pop(name))

    # the sidecar's part

    def sidecar(self, *specs: str) -> subprocess.Popen[str]:
        """Start a stand-in; it listens when this returns."""
        program = (sys.executable, Path(__file__).with_name("standin.py"))
        started = subprocess.Popen(
            ["sh", "-c", JOIN, self.agent, self.vm.name, *program, *(specs or LISTENERS)],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.standins.append(started)
        assert started.stdout is not None
        assert started.stdout.readline() == "ready\n"
        return started

    def kill(self, standin: subprocess.Popen[str]) -> None:
        standin.kill()
        standin.wait()
        assert standin.stdout is not None
        standin.stdout.close()
        self.standins.remove(standin)

    # the application's part

    def run(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        uid: int = 0,
        gid: int = 0,
        cgroup: str = "",
        namespace: str = "",
        **named: Any,
    ) -> Any:
        """What the function returns or raises in a process of the VM, in the cgroup (a child's)."""
        return self.start(
            lambda: function(*arguments, **named),
            uid=uid,
            gid=gid,
            cgroup=cgroup,
            namespace=namespace,
        ).result()

    def start(
        self,
        function: Callable[[], Any],
        *,
        uid: int = 0,
        gid: int = 0,
        cgroup: str = "",
        namespace: str = "",
    ) -> Child:
        return Child(namespace or self.vm.name, self.cgroup / cgroup, function, uid, gid)

    def close(self) -> None:
        for standin in list(self.standins):
            self.kill(standin)
        self.detach()
        deadline = time.monotonic() + 5
        for folder in sorted(self.cgroup.rglob("*/"), reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()
        while self.cgroup.exists() and time.monotonic() < deadline:
            for folder in (self.agent, self.cgroup):
                with contextlib.suppress(OSError):
                    folder.rmdir()
        assert not self.cgroup.exists()


@pytest.fixture
def steered(kernel: Any, namespaces: Callable[[str], Any]) -> Iterator[Steered]:
    """Nothing is attached yet."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    made = Steered(kernel, namespaces)
    try:
        yield made
    finally:
        made.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def on(steered: Steered) -> Steered:
    """Every program attached, the sidecar listening."""
    steered.attach()
    steered.sidecar()
    return steered


@pytest.fixture
def client() -> Iterable[Any]:
    """`call` and `read`, for tests."""
    return call
