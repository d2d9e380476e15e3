"""Generated traffic of a VM: queries and connections of every kind, as values with their bytes.

Written as the packets that a process sent into a pcapng, and sent for real by `replay_call`.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass
from ipaddress import ip_address

from interceptor.debug import pcapwrite
from interceptor.debug.pcaprecord import RAW, Record

UIDS = (1000, 1000, 1000, 1001, 1337)
"""An ordinary user, one that is excluded, and the sidecar's."""
EXEMPT = (1001, 1337)
VM, PEER = ("10.77.0.10", "fd77::10"), ("10.77.0.70", "fd77::70")
SERVERS = (*PEER, "198.18.0.53", "fd18::53")
NAMES = (
    *("reviews.bookinfo.svc.cluster.local", "reviews.bookinfo.svc", "reviews.bookinfo", "reviews"),
    *("reviews.corp.example", "reviews.bookinfo.corp.example", "db.mesh.example"),
    *("six.mesh.example", "auto.mesh.example", "auto.mesh.example.corp.example", "pods.bookinfo"),
    *("a.wild.example", "a.b.wild.example", "wild.example", "exact.wild.example"),
    *("many.mesh.example", "ext.bookinfo", "cidr.mesh.example", "none.own.example", "own.example"),
    *("_http._tcp.reviews.bookinfo.svc.cluster.local", "_none._tcp.reviews.bookinfo", "_tcp.db"),
    *("11.0.96.10.in-addr.arpa", "1.2.0.192.in-addr.arpa", "9.9.9.9.in-addr.arpa"),
    *("www.corp.example", "example.com", "reviewsbookinfo", "reviews.other", "cluster.local"),
    ".".join(("l" * 62, "o" * 62, "mesh.example")),
)
TYPES = (1, 1, 1, 28, 28, 5, 6, 12, 15, 16, 33, 64, 65, 99, 255)
PLACES = (
    *("10.96.0.11", "fd96::11", "192.0.2.1", "2001:db8::1", "192.0.2.9", "10.77.0.41"),
    *("240.240.0.1", "240.240.77.7", "2001:2::7", "198.51.100.4", "198.51.100.200"),
    *("203.0.113.7", "203.0.113.130", "2001:db8:9::1", "2001:db8:9:1::1", "198.18.0.99"),
    *("fd18::99", *PEER, *VM, "127.0.0.1", "127.9.9.9", "::1"),
)
PORTS = (22, 25, 80, 443, 3306, 8000, 8088, 9080, 15008)
INBOUND_PORTS = (22, 80, 3306, 8000, 8088, 9080, 15008)


@dataclass(frozen=True, slots=True)
class Sent:
    """One flow to send. ``messages`` are DNS, over UDP one of them; none: a connection."""

    uid: int
    protocol: str
    destination: str
    port: int
    messages: tuple[bytes, ...] = ()
    mapped: bool = False  # by an IPv6 socket, to ::ffff:a.b.c.d
    arrives: bool = False  # sent by the peer


@dataclass(frozen=True, slots=True)
class Fate:
    """What happened: where from it was sent, and what came back to each message. ``end``: what
    the place where a connection ended told of itself."""

    source: str
    source_port: int
    replies: tuple[bytes, ...] = ()
    end: str = ""


def _case(chance: random.Random, name: str) -> str:
    """Letters as a resolver with 0x20 would send them, now and then."""
    if chance.random() < 0.7:
        return name
    return "".join(chance.choice((each.upper(), each)) for each in name)


def query(chance: random.Random) -> bytes:
    """A question of a plain sort, with or without EDNS."""
    name = _case(chance, chance.choice(NAMES))
    if chance.random() < 0.3:
        name = f"h{chance.randrange(10**6)}.{name}"
    labels = [label.encode() for label in name.split(".")]
    wire = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    flags = chance.choice((0x0100, 0x0100, 0x0120, 0x0110, 0))
    has_opt = chance.random() < 0.4
    head = struct.pack("!HHHHHH", chance.getrandbits(16), flags, 1, 0, 0, int(has_opt))
    message = head + wire + struct.pack("!HH", chance.choice(TYPES), 1)
    if not has_opt:
        return message
    version = chance.choice((0, 0, 0, 0, 1))
    cookie = struct.pack("!HH8s", 10, 8, chance.randbytes(8)) if chance.random() < 0.5 else b""
    size = chance.choice((512, 1232, 4096))
    return message + struct.pack("!BHHBBHH", 0, 41, size, 0, version, 0x8000, len(cookie)) + cookie


def odd(chance: random.Random) -> bytes:
    """A query with something changed, added or lost."""
    message = bytearray(query(chance))
    how = chance.randrange(6)
    if how == 0:
        message[2] |= chance.choice((0x80, 0x08, 0x10, 0x02))
    elif how == 1:
        message[chance.choice((5, 7, 9))] ^= 1
    elif how == 2:
        del message[chance.randrange(12, len(message)) :]
    elif how == 3:
        message += chance.randbytes(3)
    elif how == 4:
        message[12] = chance.choice((0xC0, 0x40, 0))
    else:
        message[chance.randrange(2, len(message))] = chance.randrange(256)
    return bytes(message)


def _message(chance: random.Random) -> bytes:
    return odd(chance) if chance.random() < 0.15 else query(chance)


def one(chance: random.Random) -> Sent:
    """Any flow: of ten, six queries over UDP."""
    sort, uid = chance.random(), chance.choice(UIDS)
    if sort < 0.6:
        return Sent(uid, "udp", chance.choice(SERVERS), 53, (_message(chance),))
    if sort < 0.68:
        # The last one is nobody's: its reply tells who brought the connection there.
        last = struct.pack("!HHHHHH", 7, 0x100, 1, 0, 0, 0) + b"\3www\4last\0\0\1\0\1"
        messages = (*(_message(chance) for _ in range(chance.randrange(3))), last)
        return Sent(uid, "tcp", chance.choice(SERVERS), 53, messages)
    if sort < 0.8:
        return Sent(0, "tcp", chance.choice(VM), chance.choice(INBOUND_PORTS), arrives=True)
    place = chance.choice(PLACES)
    mapped = ":" not in place and chance.random() < 0.1
    return Sent(uid, "tcp", place, chance.choice(PORTS), mapped=mapped)


def flows(count: int, seed: int) -> list[Sent]:
    chance = random.Random(seed)
    return [one(chance) for _ in range(count)]


def _ip(source: str, destination: str, protocol: int, body: bytes) -> bytes:
    """Without checksums, which no capture can be trusted to have: devices fill them in."""
    ends = ip_address(source).packed + ip_address(destination).packed
    if len(ends) == 8:
        return struct.pack("!BxHHHBBH", 0x45, 20 + len(body), 0, 0, 64, protocol, 0) + ends + body
    return struct.pack("!IHBB", 6 << 28, len(body), protocol, 64) + ends + body


class Book:
    """The pcapng of what was sent. ``numbers[n]`` are the packets of flow n that are to be
    judged: a query's own, else the SYN's, and behind it those of queries over TCP."""

    def __init__(self, seed: int) -> None:
        self.numbers: list[tuple[int, ...]] = []
        self._chance = random.Random(seed)
        self._records: list[Record] = []

    def write(self, sent: Sent, fate: Fate) -> None:
        bodies = self._udp(sent, fate) if sent.protocol == "udp" else self._tcp(sent, fate)
        protocol = 17 if sent.protocol == "udp" else 6
        comment = "" if sent.arrives else f"uid {sent.uid} gid {sent.uid}"
        packets = [_ip(fate.source, sent.destination, protocol, body) for body in bodies]
        self.numbers.append(tuple(self._add(packet, comment) for packet in packets))

    def _udp(self, sent: Sent, fate: Fate) -> list[bytes]:
        (message,) = sent.messages
        head = struct.pack("!HHHH", fate.source_port, sent.port, 8 + len(message), 0)
        return [head + message]

    def _tcp(self, sent: Sent, fate: Fate) -> list[bytes]:
        """A SYN, and a segment for each message."""
        sequence = self._chance.getrandbits(32)
        found = [(0x02, b"")]
        found += [(0x18, len(each).to_bytes(2, "big") + each) for each in sent.messages]
        bodies = []
        for flags, data in found:
            ends = (fate.source_port, sent.port, sequence, 0, 0x50, flags, 64240, 0, 0)
            bodies.append(struct.pack("!HHIIBBHHH", *ends) + data)
            sequence = (sequence + (len(data) or 1)) & 0xFFFFFFFF
        return bodies

    def _add(self, data: bytes, comment: str) -> int:
        time_ns = 1_700_000_000_000_000_000 + len(self._records) * 1_000_000
        self._records.append(Record(time_ns, "eth0", RAW, data, len(data), comment))
        return len(self._records)

    def encode(self) -> bytes:
        head = pcapwrite.encode_section("generated traffic")
        head += pcapwrite.encode_interface(pcapwrite.Interface("eth0", RAW))
        return head + b"".join(pcapwrite.encode_packet(0, record) for record in self._records)
