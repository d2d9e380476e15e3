"""Connections as a capture tells of them: captured ones from both sides, and the sidecar's own.

What links show of a captured connection, each back end in its own way:

- netfilter: on lo what the process sends, with its destination rewritten already, and what it
  receives, with its source put back already: one half of either flow.
- ebpf: on lo both directions, with an alias in the destination's place.

From either both flows are made: the process's own, and the one that reaches the sidecar.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeVar

from interceptor.debug import dnsquestion, rebuild
from interceptor.debug.dnsview import Found, said
from interceptor.debug.judgement import Judgement, Told
from interceptor.debug.pcaprecord import Direction
from interceptor.debug.rebuild import End
from interceptor.debug.sighting import Sighting
from interceptor.debug.viewpoint import Role
from interceptor.host.layout import ALIAS4_NETWORKS, ALIAS6_NETWORK, Way

Key = TypeVar("Key")
Value = TypeVar("Value")

KEPT = 65_536  # connections
DNS = 53

Unalias = Callable[[bytes], bytes | None]
"""The destination that an alias stands for (packed both); None: nobody's alias."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose a socket is, and the mark that it bears."""

    uid: int
    mark: int = 0


Owner = Callable[[End, End], Holder | None]
"""Of a connection of this host, from its local and its remote end."""

_ALIAS6 = ALIAS6_NETWORK.network_address.packed[:6]
_ALIASES4 = {
    network.network_address.packed[1] >> 6: way
    for network, way in zip(ALIAS4_NETWORKS, Way, strict=True)
}
_THROUGH = (b"\x7f\0\0\6", bytes(15) + b"\6")  # the sidecar's own address towards local services
_LOOPBACK6 = bytes(15) + b"\1"


def way_of(address: bytes) -> Way | None:
    """What an alias stands for; None: no alias."""
    if len(address) == 4:
        return _ALIASES4.get(address[1] >> 6) if address[0] == 127 else None
    if address[:6] == _ALIAS6 and 0 < address[7] <= len(Way) and not address[6]:
        return Way(address[7])
    return None


@dataclass(frozen=True, slots=True)
class Ports:
    """The listeners that captured connections reach: port → what goes there."""

    ways: dict[int, Way]


@dataclass(slots=True)
class _Course:
    """One redirected connection. ``original`` is where its process wants to; it is learnt
    from the first packet that comes back."""

    way: Way
    target: End
    original: End | None = None
    holder: Holder | None = None
    told: Told | None = None


@dataclass(slots=True)
class TcpView:
    """`learn` takes packets as they arrive, `tell` the same ones later, ordered by time.
    ``own`` are this host's addresses besides loopback."""

    judgement: Judgement
    ports: Ports
    sidecar_uid: int
    agent_mark: int
    unalias: Unalias
    owner: Owner
    own: frozenset[bytes] = frozenset()
    _courses: OrderedDict[End, _Course] = field(default_factory=OrderedDict)
    _owners: OrderedDict[tuple[End, End], Holder | None] = field(default_factory=OrderedDict)
    _told: OrderedDict[tuple[End, End], tuple[Role, Told]] = field(default_factory=OrderedDict)

    def learn(self, sighting: Sighting) -> None:
        """What can be known only now: whose a socket is, what an alias means, who answers."""
        packet = sighting.packet
        source, to = (packet.source, packet.source_port), (packet.destination, packet.port)
        if sighting.role is Role.UPLINK:
            if sighting.direction is Direction.OUT and (source, to) not in self._owners:
                _keep(self._owners, (source, to), self.owner(source, to))
            return
        if (way := way_of(to[0])) is not None:
            if source not in self._courses or self._courses[source].target != to:
                original = self.unalias(to[0])
                course = _Course(way, to, (original, to[1]) if original else None)
                course.holder = self.owner(source, to)
                _keep(self._courses, source, course)
        elif to[1] in self.ports.ways and self._is_here(to[0]) and not self._is_answer(source, to):
            known = self._courses.get(source)
            if known is None or known.target != to or packet.opens:
                _keep(self._courses, source, _Course(self.ports.ways[to[1]], to))
        elif (
            (known := self._courses.get(to))
            and known.original is None
            and (source != known.target and way_of(source[0]) is None)
        ):
            known.original = source
            known.holder = self.owner(to, source)

    def _is_answer(self, source: End, to: End) -> bool:
        """A sidecar's port may be a client's too, of a connection to the sidecar."""
        return to in self._courses and self._courses[to].target == source

    def tell(self, sighting: Sighting) -> Iterator[Found]:
        """The records that a TCP packet makes."""
        found = None
        if sighting.role is not Role.UPLINK:
            found = self._captured(sighting)
        if found is None:
            is_local = sighting.role is Role.LOCAL
            found = self._local(sighting) if is_local else self._linked(sighting)
        yield found

    def _captured(self, sighting: Sighting) -> Found | None:
        packet = sighting.packet
        source, to = (packet.source, packet.source_port), (packet.destination, packet.port)
        course = self._courses.get(source)
        if course is not None and to == course.target:
            return self._redirected(sighting, course, source, forth=True)
        course = self._courses.get(to)
        if course is not None and source in (course.target, course.original):
            return self._redirected(sighting, course, to, forth=False)
        return None

    def _local(self, sighting: Sighting) -> Found:
        packet = sighting.packet
        source, to = (packet.source, packet.source_port), (packet.destination, packet.port)
        for client, service in ((source, to), (to, source)):
            if client[0] in _THROUGH or self._is_transparent(client[0], service[0]):
                told = self.judgement.service(service)
                return told, [sighting.record(Role.IN, told.text)]
        return Told("", ""), [sighting.record(Role.LOCAL, "")]

    def _is_transparent(self, client: bytes, service: bytes) -> bool:
        """Whether the client is one of elsewhere, for whom the sidecar stands (TPROXY)."""
        return service in self.own and not self._is_here(client)

    def _is_here(self, address: bytes) -> bool:
        return address in self.own or _is_loopback(address)

    def _redirected(
        self, sighting: Sighting, course: _Course, client: End, *, forth: bool
    ) -> Found:
        """Both flows of a packet. ``forth``: the client sent it."""
        role = Role.AGENT if course.way is Way.DNS else Role.SIDECAR
        original, packet = course.original, sighting.packet
        if original is None or original == course.target:
            # Somebody called the port himself, or nothing has ever come back.
            comment = "" if original else "captured; its destination was not seen"
            return Told("", comment), [sighting.record(sighting.role, comment)]
        if course.told is None:
            course.told = self._fate(sighting, course, client, original)
        told, comment = self._about(course, course.told, sighting)
        records = []
        for shown, place in ((Role.APP, original), (role, course.target)):
            ends = (client, place) if forth else (place, client)
            data = None if _has_ends(sighting, *ends) else rebuild.readdress(packet, *ends)
            records.append(sighting.inner(shown, comment, data))
        return told, records

    def _fate(self, sighting: Sighting, course: _Course, client: End, original: End) -> Told:
        if sighting.role is Role.BRIDGE:
            return self.judgement.inbound(client, original, sighting.device)
        uid = course.holder.uid if course.holder else None
        return self.judgement.outbound(client, original, uid, sighting.time_ns / 1e9)

    def _about(self, course: _Course, told: Told, sighting: Sighting) -> tuple[Told, str]:
        """What the packet is about, and its comment: a query over TCP has its own."""
        if course.way is not Way.DNS:
            return told, told.text
        message = sighting.packet.payload[2:]
        question = dnsquestion.parse(message)
        if question is None:
            return told, told.text
        packet = sighting.packet
        client = (packet.source, packet.source_port)
        if question.is_answer:
            client = (packet.destination, packet.port)
        time_s = sighting.time_ns / 1e9
        asked = self.judgement.query(client, question.name, question.qtype, time_s)
        if asked.verdict == "pass":
            return asked, f"{told.text}; relayed untouched: {asked.text}"
        if not question.is_answer or not asked.verdict:
            return asked, told.text
        return asked, said(replace(asked, who=asked.who or told.who), question, message)

    def _linked(self, sighting: Sighting) -> Found:
        """A packet on a link other than lo."""
        packet = sighting.packet
        ends = (packet.source, packet.source_port), (packet.destination, packet.port)
        goes_out = sighting.direction is Direction.OUT
        key = ends if goes_out else (ends[1], ends[0])  # local end first
        known = self._told.get(key)
        if known is None or packet.opens:
            known = self._judge(sighting, *key)
            _keep(self._told, key, known)
        role, told = known
        return told, [sighting.record(role, told.text)]

    def _judge(self, sighting: Sighting, local: End, remote: End) -> tuple[Role, Told]:
        holder = self._owners.get((local, remote))
        if holder is not None and holder.mark == self.agent_mark:
            return sighting.role, Told("pass", "the agent's own: it relays a query")
        uid = holder.uid if holder else None
        opens_out = sighting.packet.opens and sighting.direction is Direction.OUT
        is_own = uid == self.sidecar_uid or (uid is None and self.judgement.is_endpoint(remote))
        if is_own and (opens_out or not self._is_served(local, remote, sighting)):
            return Role.OUT, self.judgement.upstream(remote)
        if opens_out:
            told = self.judgement.outbound(local, remote, uid, sighting.time_ns / 1e9)
            if told.verdict in ("outbound", "dns"):
                told = replace(told, text=f"not captured, although by the plan {told.text}")
            return sighting.role, told
        return sighting.role, self.judgement.inbound(remote, local, sighting.device)

    def _is_served(self, local: End, remote: End, sighting: Sighting) -> bool:
        """Whether a connection came from there to here, as far as can be told."""
        if sighting.packet.opens:
            return sighting.direction is not Direction.OUT
        return self.judgement.inbound(remote, local, sighting.device).verdict == "inbound"


def _has_ends(sighting: Sighting, source: End, destination: End) -> bool:
    packet = sighting.packet
    return (packet.source, packet.source_port, packet.destination, packet.port) == (
        *source,
        *destination,
    )


def _is_loopback(address: bytes) -> bool:
    return address[0] == 127 if len(address) == 4 else address == _LOOPBACK6


def _keep(kept: OrderedDict[Key, Value], key: Key, value: Value) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > KEPT:
        kept.popitem(last=False)
