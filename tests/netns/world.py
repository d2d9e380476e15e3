"""A VM between a peer and a container, where every place tells who it is."""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from netfilterqueue import NetfilterQueue

LINKS = """
ip link add v0 type veth peer name p0 netns {peer}
ip link add x0 type veth peer name px netns {peer}
ip link add br0 type veth peer name b0 netns {box}
ip addr add 10.0.0.2/24 dev v0; ip addr add fd10::2/64 dev v0 nodad
ip addr add 10.77.0.2/24 dev x0; ip addr add fd77::2/64 dev x0 nodad
ip addr add 172.30.0.1/24 dev br0; ip addr add fd30::1/64 dev br0 nodad
for link in v0 x0 br0; do ip link set $link up; done
ip route add default via 10.0.0.1; ip -6 route add default via fd10::1
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0 net.ipv4.icmp_msgs_per_sec=100000
"""
PEER = """
ip addr add 10.0.0.1/24 dev p0; ip addr add fd10::1/64 dev p0 nodad
ip addr add 10.77.0.1/24 dev px; ip addr add fd77::1/64 dev px nodad
ip link set p0 up; ip link set px up
ip route add 172.30.0.0/24 via 10.0.0.2; ip -6 route add fd30::/64 via fd10::2
for net in 10.50.0.0/16 10.60.0.0/16 240.240.0.0/16 1.1.1.1 8.8.8.8; do
    ip route add local $net dev lo; done
for net in fd50::/32 fd60::/32 2001:2::/48 2606::/32; do ip -6 route add local $net dev lo; done
nft -f - <<'X'
table inet peer { chain pre { type nat hook prerouting priority -100;
  meta l4proto tcp redirect to :9999
  meta l4proto udp redirect to :9999
}
}
X
"""
BOX = """
ip addr add 172.30.0.2/24 dev b0; ip addr add fd30::2/64 dev b0 nodad; ip link set b0 up
ip route add default via 172.30.0.1; ip -6 route add default via fd30::1
"""
AGENT = (15001, 15006, 15053)
PLACES = {15001: "outbound", 15006: "inbound", 15053: "dns", 9999: "peer"}
SO_ORIGINAL_DST = 80
IP_FREEBIND, IP_TRANSPARENT, IPV6_TRANSPARENT, IP_PKTINFO = 15, 19, 75, 8
LIBC = ctypes.CDLL(None, use_errno=True)


class Event(Protocol):
    """Of threads or of processes."""

    def set(self) -> None: ...

    def is_set(self) -> bool: ...


def original(child: socket.socket) -> str:
    """The address that a client dialled: conntrack's word, else (TPROXY) the socket's own."""
    with contextlib.suppress(OSError):
        if child.family == socket.AF_INET:
            raw = child.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
            return f"{socket.inet_ntoa(raw[4:8])} {struct.unpack('!H', raw[2:4])[0]}"
        raw = child.getsockopt(socket.IPPROTO_IPV6, SO_ORIGINAL_DST, 28)
        address = socket.inet_ntop(socket.AF_INET6, raw[8:24])
        return f"{address} {struct.unpack('!H', raw[2:4])[0]}"
    return " ".join(map(str, child.getsockname()[:2]))


def serve(ports: list[int], ready: Event, stop: Event) -> None:
    """TCP on ``ports`` of both families: each connection is told where it came to."""
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
        for port in ports:
            for family in (socket.AF_INET, socket.AF_INET6):
                listener = stack.enter_context(socket.socket(family))
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    listener.setsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
                else:
                    listener.setsockopt(socket.SOL_IP, IP_TRANSPARENT, 1)
                listener.bind(("", port))
                listener.listen(64)
                selector.register(listener, selectors.EVENT_READ, port)
        ready.set()
        while not stop.is_set():
            for key, _ in selector.select(0.1):
                child, _ = key.fileobj.accept()  # type: ignore[union-attr]
                with child:
                    child.settimeout(2)
                    child.sendall(f"{PLACES[key.data]} {original(child)}".encode())


def reply(one: socket.socket) -> None:
    """Answer from the address that was asked, which is not always the one of the route back."""
    _, asked, _, client = one.recvmsg(100, 200)
    if one.family == socket.AF_INET:
        local = struct.pack("I", 0) + asked[0][2][4:]
        one.sendmsg([b"peer"], [(socket.SOL_IP, IP_PKTINFO, local)], 0, client)
    else:
        local = asked[0][2][:16] + struct.pack("I", 0)
        one.sendmsg([b"peer"], [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, local)], 0, client)


def echo(ready: threading.Event, stop: threading.Event) -> None:
    """UDP on the peer: the answer to anything is who answered."""
    with contextlib.ExitStack() as stack:
        found = []
        for family in (socket.AF_INET, socket.AF_INET6):
            one = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            else:
                one.setsockopt(socket.SOL_IP, IP_PKTINFO, 1)
            one.bind(("", 9999))
            found.append(one)
        ready.set()
        with selectors.DefaultSelector() as selector:
            for one in found:
                selector.register(one, selectors.EVENT_READ)
            while not stop.is_set():
                for key, _ in selector.select(0.1):
                    reply(key.fileobj)  # type: ignore[arg-type]


class Reader:
    """What reads the queue: UDP is noted and dropped, a TCP SYN gets the worker's mark."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()

    def __call__(self, packet: Any) -> None:
        raw = packet.get_payload()
        four = raw[0] >> 4 == 4
        protocol = raw[9] if four else raw[6]
        if protocol == socket.IPPROTO_UDP:
            start = (raw[0] & 15) * 4 if four else 40
            self.seen.add(raw[start + 8 :])
            packet.drop()
        else:
            packet.set_mark(0x1DC1)
            packet.accept()

    def run(self, ready: threading.Event, stop: threading.Event) -> None:
        queue = NetfilterQueue()
        queue.bind(15053, self)
        channel = socket.fromfd(queue.get_fd(), socket.AF_UNIX, socket.SOCK_STREAM)
        ready.set()
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(channel, selectors.EVENT_READ)
                while not stop.is_set():
                    if selector.select(0.1):
                        queue.run(block=False)
        finally:
            channel.close()
            queue.unbind()


class World:
    """``vm`` with uplinks v0, x0 to ``peer``, and the bridge br0 with ``box`` behind it."""

    def __init__(self, make: Callable[[str], Any]) -> None:
        self.vm, self.peer, self.box = make("vm"), make("peer"), make("box")
        for namespace in (self.vm, self.peer, self.box):
            # While link-local addresses are tentative nobody's neighbours are asked for.
            namespace.sh("sysctl -qw net.ipv6.conf.default.accept_dad=0")
        self.vm.sh(LINKS.format(peer=self.peer.name, box=self.box.name))
        self.peer.sh(PEER)
        self.box.sh(BOX)
        self.stop = threading.Event()
        self.start(self.peer, lambda ready: serve([9999], ready, self.stop))
        self.start(self.peer, lambda ready: echo(ready, self.stop))
        self.intercept()

    def intercept(self) -> None:
        """Start what captured packets come to: a sidecar's listeners, and a DNS worker."""
        self.reader = Reader()
        self.start(self.vm, lambda ready: serve(list(AGENT), ready, self.stop))
        self.start(self.vm, lambda ready: self.reader.run(ready, self.stop))

    def start(self, namespace: Any, function: Callable[[threading.Event], None]) -> None:
        """Run a server in a thread until the world ends; it is there when this returns."""
        ready = threading.Event()
        namespace.thread(lambda: function(ready))
        assert ready.wait(10)

    def close(self) -> None:
        self.stop.set()
        time.sleep(0.3)

    def tcp(self, where: str, destination: str, port: int, **owner: Any) -> str:
        """Where a connection ends: a place and the address dialled, or ``refused``."""
        return str(getattr(self, where).call(_tcp, destination, port, **owner))

    def udp(self, where: str, destination: str, port: int, **owner: Any) -> str:
        """Where a datagram ends: ``dns``, ``peer`` or ``refused``."""
        token = os.urandom(12)
        seen = self.reader.seen
        return str(getattr(self, where).call(_udp, destination, port, token, seen, **owner))


def _socket(kind: socket.SocketKind, destination: str, **owner: Any) -> socket.socket:
    """A socket opened by user and group, in a cgroup, with a mark, bound to a source."""
    family = socket.AF_INET6 if ":" in destination else socket.AF_INET
    LIBC.setfsgid(owner.get("gid", 0))
    LIBC.setfsuid(owner.get("uid", 0))
    try:
        one = socket.socket(family, kind)
    finally:
        LIBC.setfsuid(0)
        LIBC.setfsgid(0)
    if owner.get("cgroup"):
        one.close()
        one = _in_cgroup(family, kind, owner["cgroup"])
    one.settimeout(3)
    if owner.get("mark"):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, owner["mark"])
    if owner.get("source"):
        one.setsockopt(socket.SOL_IP, IP_FREEBIND, 1)
        one.bind((owner["source"], 0))
    return one


def _in_cgroup(family: int, kind: int, path: str) -> socket.socket:
    """A socket belongs to the cgroup of the process that made it: a child makes it for us."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            with open(f"{path}/cgroup.procs", "w") as procs:
                procs.write(str(os.getpid()))
            made = socket.socket(family, kind)
            socket.send_fds(theirs, [b"x"], [made.fileno()])
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    with ours, theirs:
        theirs.close()
        _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
    return socket.socket(family, kind, fileno=descriptors[0])


def _tcp(destination: str, port: int, **owner: Any) -> str:
    with _socket(socket.SOCK_STREAM, destination, **owner) as one:
        return connect(one, destination, port)


def connect(one: socket.socket, destination: str, port: int) -> str:
    """What who is there tells of a connection, or how it failed."""
    try:
        one.connect((destination, port))
        return one.recv(100).decode()
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "lost"


def _udp(destination: str, port: int, token: bytes, seen: set[bytes], **owner: Any) -> str:
    with _socket(socket.SOCK_DGRAM, destination, **owner) as one:
        one.settimeout(0.005)
        one.connect((destination, port))
        one.send(token)
        end = time.monotonic() + 3
        while time.monotonic() < end:
            if token in seen:
                seen.discard(token)
                return "dns"
            try:
                return one.recv(100).decode()
            except ConnectionRefusedError:
                return "refused"
            except TimeoutError:
                continue
        return "lost"
