"""DNS as a capture tells of it: which answers were given on this host, and their queries.

An answer whose query was seen by no link was given here. What answers in the kernel, or
takes queries from a queue, does it before a packet can be seen on a link. Bridges show what
containers ask all the same, unless the kernel's br_netfilter lets rules look before them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from interceptor.debug import dnsanswer, dnsquestion, rebuild
from interceptor.debug.datagram import UDP
from interceptor.debug.dnsquestion import Question
from interceptor.debug.judgement import Judgement, Told, text
from interceptor.debug.pcaprecord import Direction, Record
from interceptor.debug.sighting import Sighting
from interceptor.debug.viewpoint import Role
from interceptor.mesh.outcome import type_name

PORT = 53
KEPT = 65_536  # queries whose answers are awaited
_PATIENCE_NS = 60_000_000_000
_HERE = ("answer", "nodata", "nxdomain")

Found = tuple[Told, list[Record]]
_Key = tuple[bytes, int, str, int]  # server, id, name, type: NAT changes the client's end


def is_dns(sighting: Sighting) -> bool:
    packet = sighting.packet
    return packet.protocol == UDP and PORT in (packet.port, packet.source_port)


def said(told: Told, question: Question, message: bytes) -> str:
    """The comment of an answer that was given here, from what it says itself."""
    found = dnsanswer.parse(message)
    addresses = ", ".join((*found.aliases, *found.addresses)) if found else ""
    if told.verdict == "answer":
        what = f"{told.host or told.name} → {addresses or 'its records'}"
        return f"answered from mesh table: {what}{told.who}"
    what = "no such name" if told.verdict == "nxdomain" else f"no {type_name(question.qtype)}"
    return f"answered from mesh table: {what}: {told.text}{told.who}"


def _sent(told: Told) -> str:
    """The comment of a query that was sent on to its server."""
    if told.verdict == "pass":
        return f"passed on untouched: {told.text}{told.who}"
    if told.verdict in _HERE:
        return f"sent to its server, although the mesh table has {told.name}: {told.text}"
    return ""


@dataclass(slots=True)
class DnsView:
    """To be told of packets in the order of their time."""

    judgement: Judgement
    _left: OrderedDict[_Key, int] = field(default_factory=OrderedDict)
    _bridged: OrderedDict[_Key, int] = field(default_factory=OrderedDict)

    def tell(self, sighting: Sighting) -> Iterator[Found]:
        """The records that a packet of UDP/53 makes."""
        packet = sighting.packet
        question = dnsquestion.parse(packet.payload)
        if question is None:
            yield Told("", ""), [sighting.record(sighting.role, "")]
        elif question.is_answer and packet.source_port == PORT:
            yield self._answer(sighting, question)
        else:
            yield self._query(sighting, question)

    def _query(self, sighting: Sighting, question: Question) -> Found:
        packet = sighting.packet
        told = Told("", "", question.name)
        leaves = sighting.role is Role.LOCAL or sighting.direction is Direction.OUT
        if sighting.role is Role.BRIDGE:
            self._note(self._bridged, sighting, question)
        elif leaves:
            self._note(self._left, sighting, question)
            told = self._judge((packet.source, packet.source_port), question, sighting)
        return told, [sighting.record(sighting.role, _sent(told))]

    def _note(self, seen: OrderedDict[_Key, int], sighting: Sighting, question: Question) -> None:
        seen[self._key(sighting.packet.destination, question)] = sighting.time_ns
        if len(seen) > KEPT:
            seen.popitem(last=False)

    def _answer(self, sighting: Sighting, question: Question) -> Found:
        packet = sighting.packet
        told = self._judge((packet.destination, packet.port), question, sighting)
        was_seen = self._is_noted(self._left, sighting, question)
        goes_in = sighting.role is Role.BRIDGE or sighting.direction is not Direction.OUT
        if was_seen or not goes_in or told.verdict not in _HERE:
            comment = f"from {text(packet.source)} itself, untouched" if was_seen else ""
            return told, [sighting.record(sighting.role, comment)]
        comment = said(told, question, packet.payload)
        answer = sighting.inner(Role.ANSWERED, f"{comment} (seen on {sighting.device})")
        if self._is_noted(self._bridged, sighting, question):
            return told, [answer]
        return told, [self._made(sighting, question, comment), answer]

    def _is_noted(
        self, seen: OrderedDict[_Key, int], sighting: Sighting, question: Question
    ) -> bool:
        """Whether the query of an answer is among those seen."""
        since = seen.get(self._key(sighting.packet.source, question))
        return since is not None and sighting.time_ns - since < _PATIENCE_NS

    def _made(self, sighting: Sighting, question: Question, comment: str) -> Record:
        """The query of an answer, made from it."""
        packet = sighting.packet
        query = rebuild.encode_datagram(
            (packet.destination, packet.port),
            (packet.source, packet.source_port),
            dnsquestion.encode_query(packet.payload, question),
        )
        why = (
            f"{comment} (query rebuilt from its answer: it reached no link, its time is not known)"
        )
        made = sighting.inner(Role.ANSWERED, why, query)
        return replace(
            made, time_ns=made.time_ns - 1, length=len(query), direction=Direction.UNKNOWN
        )

    def _judge(self, client: tuple[bytes, int], question: Question, sighting: Sighting) -> Told:
        time_s = sighting.time_ns / 1e9
        return self.judgement.query(client, question.name, question.qtype, time_s)

    @staticmethod
    def _key(server: bytes, question: Question) -> _Key:
        return server, question.ident, question.name, question.qtype
