"""From packets to attempts: each query once, each connection once, however often they are seen.

Pure; packets come by `Finder.take`. The same packet at another vantage point is the same
attempt, and so is one sent again, which is counted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address

from interceptor.capture.order import DNS_PORT
from interceptor.capture.plan import Hook
from interceptor.debug import datagram, dnsanswer
from interceptor.debug.datagram import TCP, Datagram, Skip
from interceptor.debug.pcaprecord import Record
from interceptor.debug.stream import Streams
from interceptor.debug.vantage import Place, Vantage
from interceptor.mesh.model import Address

AGAIN_NS = 50_000_000
"""What comes sooner is the same packet elsewhere: nobody's retransmission timer is so short."""
QUERY_NS = 30_000_000_000
"""As long a client may try with one id from one port (resolv.conf(5): 3 tries of 5 s, doubled)."""
NOT_OURS = "neither from nor to this VM"
INNER = "between rules and sidecar or DNS worker, where it is not seen what was called"
CUT_QUERY = "a query that the capture cut off: keep more of each packet"
BEHIND = "behind the first of a connection"
_OWNER = re.compile(r"\b(uid|gid)[ =](\d+)")
_AGENTS = "the agent's own"  # of debug/tcpview.py's comments


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sent it, as far as a capture tells: by comments (uid, gid, and whether it is the
    agent's own), and the sidecar's by the interface."""

    uid: int | None = None
    gid: int | None = None
    is_sidecars: bool = False
    is_agents: bool = False


UNKNOWN = Sender()


@dataclass(frozen=True, slots=True)
class Attempt:
    """One query or connection attempt. ``number`` is its first packet's in the capture, from 1.

    ``message`` is a query's DNS message, None for connections; ``packet`` the whole IP packet
    of a query over UDP, and ``plain`` whether its headers are. ``asked`` is the place in
    `Finder.found` of the query from whose response the destination was known, -1 where there
    was none.
    """

    number: int
    time_ns: int
    hook: Hook
    interface: str
    protocol: str
    source: Address
    source_port: int
    destination: Address
    port: int
    message: bytes | None = None
    packet: bytes = b""
    plain: bool = True
    asked: int = -1
    sender: Sender = UNKNOWN

    @property
    def is_query(self) -> bool:
        return self.message is not None


@dataclass(slots=True)
class _Sight:
    """Where an attempt stands in `Finder.found`, and when it was seen last."""

    index: int
    last_ns: int


Key = tuple[object, ...]


class Finder:
    """Finds the attempts of one capture. ``is_mesh`` says of a packed address whether some host
    of the mesh is called by it: UDP is an attempt worth telling only there."""

    def __init__(self, vantage: Vantage, is_mesh: Callable[[bytes], bool]) -> None:
        self.found: list[Attempt] = []
        self.again: list[int] = []
        """How often each of `found` was sent again."""
        self.left: Counter[str] = Counter()
        """Packets that are no attempt, by the reason."""
        self.initiators: Counter[bytes] = Counter()
        """Who began what is not this VM's: a hint where nothing is."""
        self.packets = 0
        self._vantage = vantage
        self._is_mesh = is_mesh
        self._sights: dict[Key, _Sight] = {}
        self._streams = Streams()
        self._asked: dict[Key, int] = {}
        self._openers: dict[Key, Sender] = {}  # of connections to port 53
        self._known: dict[Address, int] = {}
        self._addresses: dict[bytes, Address] = {}

    def take(self, record: Record) -> None:
        """The next packet."""
        self.packets += 1
        packet = datagram.parse(record.link, record.data)
        if isinstance(packet, Skip):
            self.left[packet.value] += 1
        elif packet.protocol == TCP:
            self._take_tcp(packet, record)
        elif packet.port == DNS_PORT:
            self._take_query(packet, record)
        elif packet.source_port == DNS_PORT:
            self._hear(packet, packet.payload)
        elif self._is_mesh(packet.destination):
            ends = (packet.source, packet.source_port, packet.destination, packet.port)
            self._take_first((*ends, "udp"), packet, record, QUERY_NS)
        else:
            self.left[BEHIND] += 1

    def _take_tcp(self, packet: Datagram, record: Record) -> None:
        if packet.opens:
            ends = (packet.source, packet.source_port, packet.destination, packet.port)
            self._take_first((*ends, packet.sequence), packet, record, 0)
        elif DNS_PORT not in (packet.port, packet.source_port):
            self.left[BEHIND] += 1
            return
        if packet.port == DNS_PORT:
            for message in self._streams.take(packet):
                self._add_query(packet, record, message)
        elif packet.source_port == DNS_PORT:
            for message in self._streams.take(packet):
                self._hear(packet, message)

    def _take_first(self, key: Key, packet: Datagram, record: Record, within_ns: int) -> None:
        """A connection's first packet, unless it was seen before (``within_ns``; 0: ever)."""
        if not self._is_seen(key, record, within_ns):
            self._add(packet, record, None, key)

    def _take_query(self, packet: Datagram, record: Record) -> None:
        if packet.cut:
            self.left[CUT_QUERY] += 1
            return
        ends = (packet.source, packet.source_port, packet.destination)
        key = (*ends, packet.payload)
        if not self._is_seen(key, record, QUERY_NS):
            self._add_query(packet, record, packet.payload, key)

    def _is_seen(self, key: Key, record: Record, within_ns: int) -> bool:
        sight = self._sights.get(key)
        if sight is None or (within_ns and record.time_ns - sight.last_ns > within_ns):
            return False
        if abs(record.time_ns - sight.last_ns) > AGAIN_NS:
            self.again[sight.index] += 1
        sight.last_ns = record.time_ns
        return True

    def _add_query(
        self, packet: Datagram, record: Record, message: bytes, key: Key | None = None
    ) -> None:
        if self._add(packet, record, message, key):
            ends = (packet.source, packet.source_port, packet.destination, packet.protocol)
            self._asked[*ends, message[:2]] = len(self.found) - 1

    def _add(
        self, packet: Datagram, record: Record, message: bytes | None, key: Key | None
    ) -> bool:
        """Whether it is an attempt of this VM's, which is then among those found."""
        place = self._vantage.place(packet, record.interface)
        if place is None or place.is_inner:
            self.left[NOT_OURS if place is None else INNER] += 1
            self.initiators[packet.source] += place is None
            return False
        sender = self._sender(packet, record.comment, place)
        is_udp, to = packet.protocol != TCP, self._address(packet.destination)
        if key is not None:
            self._sights[key] = _Sight(len(self.found), record.time_ns)
        self.again.append(0)
        self.found.append(
            Attempt(
                self.packets,
                record.time_ns,
                place.hook,
                place.link,
                "udp" if is_udp else "tcp",
                self._address(packet.source),
                packet.source_port,
                to,
                packet.port,
                message,
                b"" if message is None else packet.packet,
                packet.plain,
                self._known.get(to, -1) if message is None else -1,
                sender,
            )
        )
        return True

    def _sender(self, packet: Datagram, comment: str, place: Place) -> Sender:
        """Of a query over TCP whoever opened the connection, where its own packet is silent."""
        ends = (packet.source, packet.source_port, packet.destination, packet.port)
        found = UNKNOWN
        if comment or place.is_sidecars:
            ids = {name: int(number) for name, number in _OWNER.findall(comment)}
            is_agents = _AGENTS in comment
            found = Sender(ids.get("uid"), ids.get("gid"), place.is_sidecars, is_agents)
        if packet.protocol == TCP and packet.port == DNS_PORT:
            if packet.opens:
                self._openers[ends] = found
            elif found == UNKNOWN:
                found = self._openers.get(ends, UNKNOWN)
        return found

    def _hear(self, packet: Datagram, message: bytes) -> None:
        """A response: its addresses are known by the query that it answers."""
        ends = (packet.destination, packet.port, packet.source, packet.protocol)
        asked = self._asked.get((*ends, message[:2]))
        if asked is not None and (told := dnsanswer.parse(message)):
            for address in told.addresses:
                self._known[ip_address(address)] = asked

    def _address(self, packed: bytes) -> Address:
        found = self._addresses.get(packed)
        if found is None:
            found = self._addresses[packed] = ip_address(packed)
        return found
