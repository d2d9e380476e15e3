"""A VM whose connections are steered by the programs of `bpf/`, and a stand-in for its sidecar."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import os
import pickle
import resource
import socket
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

SIDECAR, MARK = 1337, 0x1DC1
OUTBOUND, INBOUND, DNS = 15001, 15006, 15053
SO_NETNS_COOKIE = 71
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
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


class Child:
    """A function run in a forked process: in a namespace, in a cgroup, as a user."""

    def __init__(
        self, namespace: str, cgroup: Path, function: Callable[[], Any], uid: int = 0, gid: int = 0
    ) -> None:
        self._reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._reading)
            status = 1
            try:
                enter(namespace, cgroup, uid, gid)
                try:
                    result = (True, function())
                except Exception as error:
                    result = (False, error)
                with open(writing, "wb") as pipe:
                    pickle.dump(result, pipe)
                status = 0
            finally:
                os._exit(status)
        os.close(writing)

    def result(self) -> Any:
        with open(self._reading, "rb") as pipe:
            raw = pipe.read()
        os.waitpid(self.pid, 0)
        assert raw, "the child died"
        fine, value = pickle.loads(raw)
        if not fine:
            raise value
        return value


def enter(namespace: str, cgroup: Path, uid: int, gid: int) -> None:
    (cgroup / "cgroup.procs").write_text("0")
    with open(f"/run/netns/{namespace}") as file:
        assert LIBC.setns(file.fileno(), CLONE_NEWNET) == 0
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


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
        fields |= {"uid": SIDECAR, "gid": SIDECAR, "excluded": (), "included": ()} | changed
        groups: list[int] = []
        for kind in ("excluded", "included"):
            refs = [(*ref, 0) for ref in fields[kind]] + [(0, 0, 0)] * (8 - len(fields[kind]))
            groups += [number for ref in refs for number in ref]
        raw = POLICY.pack(
            *(fields["cookie"], fields["lease_ns"], 0, flags, fields["mark"]),
            *(fields["uid"], fields["gid"], OUTBOUND, INBOUND, DNS),
            *(len(fields["excluded"]), len(fields["included"]), *groups),
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


def cookie() -> int:
    with socket.socket() as one:
        raw = one.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8)
    return int.from_bytes(raw, sys.byteorder)


def read(one: socket.socket) -> dict[str, Any]:
    """What the stand-in says of a connection, with the client's own view of it."""
    line = b""
    while not line.endswith(b"\n"):
        data = one.recv(4096)
        assert data, f"closed after {line!r}"
        line += data
    told: dict[str, Any] = json.loads(line)
    told["client_peer"] = list(one.getpeername()[:2])
    told["client_own"] = list(one.getsockname()[:2])
    return told


def call(
    destination: str,
    port: int,
    *,
    family: int = 0,
    protocol: int = 0,
    source: str = "",
    prepare: Callable[[socket.socket], None] = lambda one: None,
) -> dict[str, Any]:
    """Connect, and return what the stand-in tells; raises what connect() raises."""
    wanted = family or (socket.AF_INET6 if ":" in destination else socket.AF_INET)
    with socket.socket(wanted, socket.SOCK_STREAM, protocol) as one:
        one.settimeout(3)
        if source:
            one.bind((source, 0))
        prepare(one)
        one.connect((destination, port))
        return read(one)


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
