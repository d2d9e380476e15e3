"""Connections as they are seen, packet by packet, into who called whom, how often, in which words.

Everything is bounded; what is beyond the bounds is counted. No clock, no I/O.
"""

from __future__ import annotations

import enum
import socket
from collections import OrderedDict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from interceptor.debug import dnsanswer, firstword
from interceptor.debug.asking import Asking
from interceptor.debug.datagram import ACK, SYN, TCP, Datagram
from interceptor.debug.firstword import Opening
from interceptor.debug.observed import Call, Observation, Visit

MOST_FLOWS = 50_000
MOST_ROWS = 20_000
ENOUGH_WORDS = 200
"""First words on one port, after which it is known what is spoken there."""
_DNS, _QUIC, _DNS_OVER_QUIC = 53, 443, 853

Like = TypeVar("Like")
"""What connections have in common that are one row."""
Key = tuple[str, int, str, int]
"""Client's address and port, server's address and port."""


class Way(enum.Enum):
    """Where a connection goes. SELF: from this VM to itself."""

    OUT = "out"
    IN = "in"
    SELF = "self"
    PAST = "past"


@dataclass(slots=True)
class Flow:
    """One connection. ``names`` are what its address was called when it began."""

    key: Key
    way: Way
    transport: str = "tcp"
    sequence: int = 0
    names: tuple[str, ...] = ()
    opening: Opening | None = None
    protocol: str = ""
    answered: bool = False
    before: bool = False
    owner: str = ""
    device: str = ""


@dataclass(slots=True)
class _Row:
    """Like connections, added up."""

    protocol: str = ""
    count: int = 0
    answered: int = 0
    before: int = 0
    said: dict[str, None] = field(default_factory=dict)
    devices: dict[str, None] = field(default_factory=dict)
    owners: dict[str, int] = field(default_factory=dict)


class Ledger:
    """``own`` are this VM's addresses; ``quiet`` ports of which enough has been heard."""

    def __init__(self, own: Collection[str], static: Iterable[tuple[str, str]] = ()) -> None:
        self.asking = Asking(static)
        self.quiet: set[int] = set()
        self.connections = 0
        self.left_out = 0
        self._own = set(own)
        self._flows: OrderedDict[Key, Flow] = OrderedDict()
        self._calls: dict[tuple[str, str, str, int, str], _Row] = {}
        self._visits: dict[tuple[int, str, str], _Row] = {}
        self._words: dict[int, int] = {}
        self._passing: OrderedDict[tuple[str, int, int], None] = OrderedDict()
        self._entered: OrderedDict[tuple[str, int, int], None] = OrderedDict()
        self._forwarded: dict[str, int] = {}

    def add(self, packet: Datagram, device: str, leaves: bool | None) -> Flow | None:
        """One packet; ``leaves`` is None where nobody knows. A connection that this VM begins
        with it is given back, so that its owner can be looked up at once."""
        source, destination = _text(packet.source), _text(packet.destination)
        key = (source, packet.source_port, destination, packet.port)
        if packet.source_port == _DNS:
            self._answer(packet, key)
            return None
        if packet.protocol != TCP:
            return self._datagram(packet, key, leaves)
        if packet.flags & SYN:
            if packet.flags & ACK:
                self._accepted(key)
                return None
            return self._begin(packet, key, device, leaves)
        opening = firstword.guess(packet.payload)
        if opening is not None:
            self._heard(opening, key, leaves)
        return None

    def learn(self, own: Iterable[str]) -> None:
        """Addresses that this VM has got meanwhile."""
        self._own.update(own)

    def open(self, flow: Flow) -> None:
        """A connection that is known by its socket, and not by how it began."""
        if flow.key not in self._flows:
            flow.names = self.asking.names(flow.key[2])
            self._keep(flow)

    def find(self, key: Key) -> Flow | None:
        """A connection that is still remembered."""
        return self._flows.get(key)

    def _answer(self, packet: Datagram, key: Key) -> None:
        data = packet.payload[2:] if packet.protocol == TCP else packet.payload
        lookup = dnsanswer.parse(data)
        if lookup is not None and self._is_own(key[2]):
            self.asking.add(lookup, key[0], (key[2], key[3]))

    def _begin(self, packet: Datagram, key: Key, device: str, leaves: bool | None) -> Flow | None:
        known = self._flows.get(key)
        if packet.port == _DNS or (known is not None and known.sequence == packet.sequence):
            return None  # sent again, or seen on another device
        way = self._way(key, leaves)
        mark = (key[2], key[3], packet.sequence)
        who = (key[0], key[1], packet.sequence)
        if way is Way.PAST:
            # What came in and goes on is for a published port of a container, and no call.
            if mark not in self._passing and who not in self._entered:
                self._forwarded[device] = self._forwarded.get(device, 0) + 1
            _note(self._passing, mark)
            return None
        if mark in self._passing:
            return None  # a container's, that leaves with our address by NAT
        flow = Flow(key, way, sequence=packet.sequence, names=self.asking.names(key[2]))
        self.connections += 1
        if way is Way.IN:
            _note(self._entered, who)
        self._keep(flow)
        return flow if way is Way.OUT else None

    def _datagram(self, packet: Datagram, key: Key, leaves: bool | None) -> Flow | None:
        """Multicast and QUIC that this VM sends: the mesh carries neither."""
        group = packet.destination[0]
        is_group = 224 <= group < 240 if len(packet.destination) == 4 else group == 0xFF
        protocol = "multicast" if is_group else "quic"
        if self._way(key, leaves) is not Way.OUT or key in self._flows:
            return None
        flow = Flow(key, Way.OUT, "udp", names=self.asking.names(key[2]), protocol=protocol)
        self._keep(flow)
        return flow

    def _accepted(self, key: Key) -> None:
        flow = self._flows.get((key[2], key[3], key[0], key[1]))
        if flow is not None:
            flow.answered = True

    def _heard(self, opening: Opening, key: Key, leaves: bool | None) -> None:
        back = (key[2], key[3], key[0], key[1])
        if opening.by_client is False or (opening.by_client is None and key not in self._flows):
            key, leaves = back, None if leaves is None else not leaves
        flow = self._flows.get(key)
        if flow is None:
            if opening.by_client is None or self._way(key, leaves) is Way.PAST:
                return
            # It began before the watch did.
            flow = Flow(key, self._way(key, leaves), names=self.asking.names(key[2]), before=True)
            self._keep(flow)
        if flow.opening is None or (opening.name and not flow.opening.name):
            flow.opening, flow.protocol = opening, opening.protocol
        if opening.protocol != "tls":
            self._words[key[3]] = self._words.get(key[3], 0) + 1
            if self._words[key[3]] >= ENOUGH_WORDS:
                self.quiet.add(key[3])

    def _is_own(self, address: str) -> bool:
        return address in self._own or address.startswith("127.") or address == "::1"

    def _way(self, key: Key, leaves: bool | None) -> Way:
        from_us, to_us = self._is_own(key[0]), self._is_own(key[2])
        if from_us and to_us:
            return Way.SELF
        if to_us and leaves is not True:
            return Way.IN
        return Way.OUT if from_us and leaves is not False else Way.PAST

    def _keep(self, flow: Flow) -> None:
        old = self._flows.pop(flow.key, None)
        if old is not None:
            self._fold(old)
        self._flows[flow.key] = flow
        if len(self._flows) > MOST_FLOWS:
            self._fold(self._flows.popitem(last=False)[1])

    def _fold(self, flow: Flow) -> None:
        """Add a connection to those like it."""
        client, _, server, port = flow.key
        said = flow.opening.name if flow.opening is not None else ""
        row: _Row | None
        if flow.way is Way.OUT:
            name, evidence = self._name(flow, said)
            row = _row(self._calls, (name, evidence, server, port, flow.transport))
        else:
            peer = client if flow.way is Way.IN else ""
            row = _row(self._visits, (port, peer, flow.transport))
            name = said
        if row is None:
            self.left_out += 1
            return
        row.count += not flow.before
        row.before += flow.before
        row.answered += flow.answered
        row.protocol = row.protocol or flow.protocol
        if said and said != name:
            row.said[said] = None
        if flow.device:
            row.devices[flow.device] = None
        if flow.owner:
            row.owners[flow.owner] = row.owners.get(flow.owner, 0) + 1

    def _name(self, flow: Flow, said: str) -> tuple[str, str]:
        """What the connection's address was called, and how that is known. What the client
        says to the server tells which of several names it had in mind; alone it counts where
        nobody asked for the address."""
        address = flow.key[2]
        names = flow.names or self.asking.names(address)
        if names:
            return (said if said in names else names[0]), "dns"
        if static := self.asking.static(address):
            return static, "hosts"
        if said and flow.opening is not None:
            return said, "sni" if flow.opening.protocol == "tls" else "host"
        return "", ""

    def observation(self) -> Observation:
        """All until now; nothing more is to be added. Without what only the host can tell."""
        while self._flows:
            self._fold(self._flows.popitem(last=False)[1])
        calls = [
            Call(
                address,
                port,
                transport,
                name,
                evidence,
                row.protocol,
                row.count,
                row.answered,
                row.before,
                tuple(row.said),
                tuple(row.devices),
                tuple(sorted(row.owners.items())),
            )
            for (name, evidence, address, port, transport), row in self._calls.items()
        ]
        visits = [
            Visit(port, peer, transport, row.protocol, row.count, row.answered, row.before)
            for (port, peer, transport), row in self._visits.items()
        ]
        return Observation(
            asked=self.asking.rows(),
            calls=tuple(sorted(calls, key=lambda c: (-c.count, c.name, c.address, c.port))),
            visits=tuple(sorted(visits, key=lambda v: (v.port, -v.count, v.peer))),
            forwarded=tuple(sorted(self._forwarded.items())),
            left_out=self.left_out + self.asking.left_out,
        )


def _row(rows: dict[Like, _Row], key: Like) -> _Row | None:
    """The row of a key; None where there is no room for another."""
    row = rows.get(key)
    if row is None and len(rows) < MOST_ROWS:
        row = rows[key] = _Row()
    return row


def _note(seen: OrderedDict[Like, None], what: Like) -> None:
    """Remember; the oldest goes where there is no room."""
    seen[what] = None
    if len(seen) > MOST_FLOWS:
        seen.popitem(last=False)


def _text(packed: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)
