"""What the kernel's programs and user space share: ``bpf/include/layout.h`` in Python.

The header tells what each number and field means; a test holds the two together.
Everything is in the machine's byte order but for addresses, which are packed.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from struct import Struct

LAYOUT = 2


class Map(enum.IntEnum):
    """The numbers by which bytecode names maps."""

    STATE = 1
    POLICY = 2
    NUMBERS = 3
    NETWORKS = 4
    ALIAS4 = 5
    ALIAS6 = 6
    LISTENERS = 7
    LOCALE = 8
    NAMES = 9
    WILD = 10
    POINTERS = 11
    SCRATCH = 12
    DNS_COUNTS = 13
    TCP_COUNTS = 14
    HANDOVER = 15
    EVENTS = 16
    OWNERS = 17


class MapType(enum.IntEnum):
    """linux/bpf.h, enum bpf_map_type."""

    HASH = 1
    ARRAY = 2
    PERCPU_ARRAY = 6
    LPM_TRIE = 11
    ARRAY_OF_MAPS = 12
    SOCKMAP = 15
    SK_STORAGE = 24
    RINGBUF = 27


NO_PREALLOC = 1  # linux/bpf.h, BPF_F_NO_PREALLOC


@dataclass(frozen=True, slots=True)
class MapSpec:
    """What bpf(2) needs to make a map. Sizes in bytes; ``inner`` of a map of maps."""

    name: str
    type: MapType
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0
    inner: MapSpec | None = None


class State(enum.IntEnum):
    """Indices of Map.STATE, each a u64."""

    GENERATION = 0
    VIEW = 1
    BEAT_NS = 2
    WORKER_NS = 3
    TRACE_NS = 4
    HAS_VIEW = 5
    WRITES = 6
    UNTOLD = 7


STATE_SIZE, WORKER_PATIENCE_NS = 8, 1_500_000_000


class PolicyFlag(enum.IntFlag):
    DNS = 0x1
    DNS_ALL = 0x2
    OUTBOUND = 0x4
    INBOUND = 0x8
    INBOUND_ALL = 0x10
    SELF = 0x20
    SIDECAR = 0x40
    EXCLUDE_UIDS = 0x80
    EXCLUDE_GIDS = 0x100
    INCLUDE_UIDS = 0x200
    INCLUDE_GIDS = 0x400
    OUT_PORTS = 0x800
    OUT_PORTS_SPARED = 0x1000
    BYPASS = 0x2000
    RELEASE = 0x4000
    IPV4 = 0x8000
    IPV6 = 0x10000
    INTERFACES = 0x20000
    CONFINED = 0x40000


CGROUPS = 8
CGROUP_REF = Struct("=QII")
POLICY = Struct("=QQQIIIIHHHHH6x" + "QII" * 2 * CGROUPS + "Q")
"""netns cookie, lease, digest, flags, mark, sidecar uid, gid, outbound, inbound, DNS port,
excluded and included cgroups, then (id, level, 0) of CGROUPS excluded and CGROUPS included, then
the id of the sidecar's cgroup."""


class Number(enum.IntEnum):
    """Kinds of Map.NUMBERS."""

    EXCLUDE_UID = 1
    EXCLUDE_GID = 2
    INCLUDE_UID = 3
    INCLUDE_GID = 4
    OUT_PORT_SPARED = 5
    OUT_PORT = 6
    IN_PORT_SPARED = 7
    IN_PORT = 8
    SELF_PORT_SPARED = 9
    IN_INTERFACE_SPARED = 10


NUMBER_KEY = Struct("=HHI")  # kind, generation, value


class Network(enum.IntEnum):
    """Kinds of Map.NETWORKS."""

    OUTBOUND = 1
    SPARED = 2
    SERVER = 3
    OWN = 4


NETWORK_KEY = Struct("=IHH16s")  # prefix length + 32, kind, generation, address


class Way(enum.IntEnum):
    """What an alias stands for."""

    OUTBOUND = 1
    INBOUND = 2
    DNS = 3


ALIAS4_BASE = 0x7F000000
ALIAS4_SLOTS = 0x3FFFFF
ALIAS6_PREFIX = (0xFDC8, 0x3D1F, 0x62A7)
ALIAS_PROBES = 8
ALIAS4_NETWORKS = tuple(IPv4Network((ALIAS4_BASE | way << 22, 10)) for way in Way)
ALIAS6_NETWORK = IPv6Network(
    (ALIAS6_PREFIX[0] << 112 | ALIAS6_PREFIX[1] << 96 | ALIAS6_PREFIX[2] << 80, 48)
)


class Owner(enum.IntEnum):
    """Values of Map.OWNERS."""

    EXCLUDED = 1
    INCLUDED = 2


class Listener(enum.IntEnum):
    """Indices of Map.LISTENERS."""

    OUTBOUND4 = 0
    OUTBOUND6 = 1
    INBOUND4 = 2
    INBOUND6 = 3
    DNS4 = 4
    DNS6 = 5


LISTENERS_SIZE = 8

NAME_SIZE, ADDRESSES = 128, 8
MARK_ROOT, MARK_CLUSTER, MARK_OWN = 0, 0xFE, 0xFF
HASH_FACTOR = 0x9E3779B97F4A7C15


class ValueFlag(enum.IntFlag):
    PASS = 0x1
    HANDOVER = 0x2
    EXTRA = 0x4


NAME_VALUE = Struct(f"=QBBHI{4 * ADDRESSES}s{16 * ADDRESSES}s")
"""hash, IPv4 addresses, IPv6 addresses (how many of each), flags, 0, the addresses packed."""


class Suffix(enum.IntEnum):
    """Where each suffix stands in a locale."""

    OWN = 0
    CLUSTER = 1
    OWN_SHORT = 2
    CLUSTER_SHORT = 3
    NAMESPACE = 4
    DOMAIN = 5
    ZONES = 6
    SEARCH = 10


ZONES, SEARCHES, SUFFIXES, SUFFIX_SIZE = 4, 6, 16, 64


class LocaleFlag(enum.IntFlag):
    HAS_WILD = 0x1
    HAS_ZONES = 0x2
    HAS_SEARCH = 0x4
    HAS_POINTERS = 0x8


SUFFIX = Struct(f"={SUFFIX_SIZE}sII")  # bytes at the end of the field, length, 0
LOCALE_HEAD = Struct("=IIQ")  # TTL in seconds, flags, wildcard depths
LOCALE_SIZE = LOCALE_HEAD.size + SUFFIXES * SUFFIX.size

PACKET_SIZE = 1024
HANDOVER = Struct(f"=IIII{PACKET_SIZE}s")  # length, interface index, place, 0, packet
COMM_SIZE = 16
EVENT = Struct(f"=QIIIIIHH16s{NAME_SIZE}sQQ16sH6x{COMM_SIZE}s")
"""time, kind, result, uid, interface index, pid, query type, port, address, name asked; cookie,
cgroup, source and its port, name of pid."""


class EventKind(enum.IntEnum):
    """Which decision a record of Map.EVENTS is about."""

    DNS = 1
    CONNECT = 2
    LOOKUP = 3
    ALIAS = 4
    SOCKET = 5


class Place(enum.IntEnum):
    """Where a handed-over query was met."""

    EGRESS = 0
    LO = 1
    BRIDGE = 2


DNS_RESULTS = (
    *("answer", "nodata", "pass", "handover", "odd", "long", "exempt", "torn"),
    *("no-worker", "lease", "error", "no-view"),
)
DNS_TYPES = ("other", "A", "AAAA", "PTR", "SRV", "HTTPS", "TXT", "ANY")
TCP_RESULTS = (
    *("outbound", "self", "dns", "pass", "exempt", "bypass", "lease", "full"),
    *("inbound", "inbound-pass", "refused"),
)
RESULTS_SIZE = 16  # rows that each table of counters has room for

_NAMES = MapSpec("names", MapType.HASH, NAME_SIZE, NAME_VALUE.size, 4096, NO_PREALLOC)
_POINTERS = MapSpec("pointers", MapType.HASH, 16, 1, 4096, NO_PREALLOC)
VIEWS = 2

SPECS: dict[Map, MapSpec] = {
    Map.STATE: MapSpec("state", MapType.ARRAY, 4, 8, STATE_SIZE),
    Map.POLICY: MapSpec("policy", MapType.ARRAY, 4, POLICY.size, 2),
    Map.NUMBERS: MapSpec("numbers", MapType.HASH, NUMBER_KEY.size, 1, 65536, NO_PREALLOC),
    Map.NETWORKS: MapSpec("networks", MapType.LPM_TRIE, NETWORK_KEY.size, 1, 1 << 20, NO_PREALLOC),
    Map.ALIAS4: MapSpec("alias4", MapType.HASH, 4, 4, 1 << 17, NO_PREALLOC),
    Map.ALIAS6: MapSpec("alias6", MapType.HASH, 8, 16, 1 << 17, NO_PREALLOC),
    Map.LISTENERS: MapSpec("listeners", MapType.SOCKMAP, 4, 4, LISTENERS_SIZE),
    Map.LOCALE: MapSpec("locale", MapType.ARRAY, 4, LOCALE_SIZE, VIEWS),
    Map.NAMES: MapSpec("names", MapType.ARRAY_OF_MAPS, 4, 4, VIEWS, inner=_NAMES),
    Map.WILD: MapSpec("wild", MapType.ARRAY_OF_MAPS, 4, 4, VIEWS, inner=_NAMES),
    Map.POINTERS: MapSpec("pointers", MapType.ARRAY_OF_MAPS, 4, 4, VIEWS, inner=_POINTERS),
    Map.SCRATCH: MapSpec("scratch", MapType.PERCPU_ARRAY, 4, 4096, 1),
    Map.DNS_COUNTS: MapSpec(
        "dns_counts", MapType.PERCPU_ARRAY, 4, 8, RESULTS_SIZE * len(DNS_TYPES)
    ),
    Map.TCP_COUNTS: MapSpec("tcp_counts", MapType.PERCPU_ARRAY, 4, 8, RESULTS_SIZE),
    Map.HANDOVER: MapSpec("handover", MapType.RINGBUF, 0, 0, 1 << 18),
    Map.EVENTS: MapSpec("events", MapType.RINGBUF, 0, 0, 1 << 18),
    Map.OWNERS: MapSpec("owners", MapType.SK_STORAGE, 4, 4, 0, NO_PREALLOC),
}
UNVERSIONED = (Map.ALIAS4, Map.ALIAS6)
"""Pinned beside the folders of the layouts: open connections hang on them."""


def address_key(address: IPv4Address | IPv6Address) -> bytes:
    """16 bytes; IPv4 as ::ffff:a.b.c.d."""
    return address.packed if address.version == 6 else b"\0" * 10 + b"\xff\xff" + address.packed


def network_key(kind: Network, generation: int, network: IPv4Network | IPv6Network) -> bytes:
    """The key of one network in Map.NETWORKS."""
    length = network.prefixlen + (96 if network.version == 4 else 0)
    address = address_key(network.network_address)
    return NETWORK_KEY.pack(length + 32, kind, generation, address)
