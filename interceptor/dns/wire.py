"""DNS messages as bytes: questions in, precompiled answers out (RFC 1035, RFC 6891).

Only what an answerer of its own names needs. A question that is in any way odd
is not ours to answer: `parse` says why, and the message goes on untouched. The
general codec (dnslib) costs about 90 µs a query and is here for reference
only: `decode` for people and tests.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING

from interceptor.mesh.name import parents
from interceptor.mesh.outcome import (
    AAAA,
    CNAME,
    NOERROR,
    NXDOMAIN,
    PTR,
    SOA,
    SRV,
    SRV_PRIORITY,
    SRV_WEIGHT,
    A,
    Outcome,
    Verdict,
)

if TYPE_CHECKING:
    from dnslib import DNSRecord

HEADER = Struct("!HHHHHH")  # id, flags, QDCOUNT, ANCOUNT, NSCOUNT, ARCOUNT
_RECORD = Struct("!HHIH")  # type, class, TTL, RDLENGTH
_SERVICE = Struct("!HHH")  # priority, weight, port (RFC 2782)
_TIMES = Struct("!IIIII")  # SOA: serial, refresh, retry, expire, minimum
_OPT = Struct("!BHHBBHH")  # root, type, size, extended rcode, version, flags, RDLENGTH
_FOUR = Struct("!HH")

CLASS_IN = 1
TYPE_OPT = 41
FLAG_AA, FLAG_TC, FLAG_RD, FLAG_RA, FLAG_CD = 0x0400, 0x0200, 0x0100, 0x0080, 0x0010
FLAG_QR = 0x8000
# QR, OPCODE, TC and RCODE must all be zero in a plain query.
_ODD_FLAGS = 0xFA0F
_DO = 0x8000
# What we can take ourselves; the size that avoids fragments everywhere (DNS flag day 2020).
OWN_UDP_SIZE = 1232
SMALLEST_UDP_SIZE = 512
BADVERS_EXTENDED = 1  # upper bits of RCODE 16; the lower four stay zero
_MAXIMUM_NAME = 255
_SOA_REFRESH_S, _SOA_RETRY_S, _SOA_EXPIRE_S = 7200, 1800, 86400


class Odd(enum.Enum):
    """Why a message is left alone before its name is looked at."""

    SHORT = "short"
    NOT_A_QUERY = "not-a-query"
    COUNTS = "counts"
    NAME = "name"
    CLASS = "class"
    TRAILING = "trailing"


@dataclass(frozen=True, slots=True)
class Question:
    """``name`` in lower case; ``end`` is the offset behind the question. Without EDNS
    ``udp_size`` is 512 and ``edns_version`` -1."""

    name: str
    qtype: int
    end: int
    flags: int
    udp_size: int = SMALLEST_UDP_SIZE
    edns_version: int = -1
    do: bool = False


@dataclass(frozen=True, slots=True)
class Body:
    """The records of one answer, whoever asks: free of id, case, EDNS and size.

    ``fixed`` records come first, then ``block``, records of ``unit`` bytes each whose
    order is free, then ``more`` (``more_count`` records), then ``authority`` (one SOA).
    Pointers within count from a question at offset 12 of the name's own length.
    """

    verdict: Verdict
    rcode: int
    fixed: tuple[bytes, ...] = ()
    block: bytes = b""
    unit: int = 0
    more: bytes = b""
    more_count: int = 0
    authority: bytes = b""


def parse(message: bytes) -> Question | Odd:
    """The one question of a plain query, or why it is none."""
    if len(message) < 17:
        return Odd.SHORT
    _, flags, questions, answers, authorities, additionals = HEADER.unpack_from(message)
    if flags & _ODD_FLAGS:
        return Odd.NOT_A_QUERY
    if questions != 1 or answers or authorities or additionals > 1:
        return Odd.COUNTS
    labels = _labels(message)
    if labels is None:
        return Odd.NAME
    name, at = labels
    if at + 4 > len(message):
        return Odd.SHORT
    qtype, qclass = _FOUR.unpack_from(message, at)
    if qclass != CLASS_IN:
        return Odd.CLASS
    end = at + 4
    if not additionals:
        return Question(name, qtype, end, flags) if end == len(message) else Odd.TRAILING
    return _with_edns(message, Question(name, qtype, end, flags))


def _labels(message: bytes) -> tuple[str, int] | None:
    """The name at offset 12 in lower case, and the offset behind it. None if it is the root,
    compressed, too long, cut off, or not writable as dotted text without ambiguity."""
    at, labels, size = 12, [], len(message)
    while True:
        if at >= size:
            return None
        length = message[at]
        if length == 0:
            break
        if length > 63:
            return None
        labels.append(message[at + 1 : at + 1 + length])
        at += 1 + length
    at += 1
    if not labels or at - 12 > _MAXIMUM_NAME:
        return None
    text = b".".join(labels)
    if not text.isascii() or text.count(b".") != len(labels) - 1:
        return None
    return text.lower().decode("ascii"), at


def _with_edns(message: bytes, question: Question) -> Question | Odd:
    """The one additional record must be a sound OPT at the very end (RFC 6891 §6.1)."""
    at = question.end
    if len(message) < at + _OPT.size:
        return Odd.TRAILING
    root, kind, size, _, version, flags, length = _OPT.unpack_from(message, at)
    if root or kind != TYPE_OPT or at + _OPT.size + length != len(message):
        return Odd.TRAILING
    option = at + _OPT.size
    while option + 4 <= len(message):
        option += 4 + _FOUR.unpack_from(message, option)[1]
    if option != len(message):
        return Odd.TRAILING
    return Question(
        question.name,
        question.qtype,
        question.end,
        question.flags,
        max(size, SMALLEST_UDP_SIZE),
        version,
        bool(flags & _DO),
    )


class _Writer:
    """Writes names behind a question, each suffix only once (RFC 1035 §4.1.4)."""

    def __init__(self, question: str) -> None:
        self.at = 12
        self._known: dict[str, int] = {}
        self.name(question)
        self.at += 4

    def name(self, name: str) -> bytes:
        """``name`` at the present offset."""
        out = b""
        for suffix in (name, *parents(name)):
            seen = self._known.get(suffix)
            if seen is not None:
                out += (0xC000 | seen).to_bytes(2, "big")
                self.at += len(out)
                return out
            # Pointers have 14 bits.
            if self.at + len(out) < 0x4000:
                self._known[suffix] = self.at + len(out)
            out += _label(suffix.partition(".")[0])
        out += b"\0"
        self.at += len(out)
        return out

    def record(self, owner: str, kind: int, ttl_s: int, data: Iterable[bytes | str]) -> bytes:
        """One record; in its data a str is a name, and bytes are themselves."""
        front = self.name(owner)
        self.at += _RECORD.size
        rdata = b""
        for part in data:
            if isinstance(part, str):
                rdata += self.name(part)
            else:
                rdata += part
                self.at += len(part)
        return front + _RECORD.pack(kind, CLASS_IN, ttl_s, len(rdata)) + rdata


def encode(question: str, outcome: Outcome, ttl_s: int) -> Body:
    """The records of ``outcome``, to stand behind ``question``.

    ValueError where a name of the mesh cannot be written in DNS.
    """
    writer = _Writer(question)
    fixed = [writer.record(owner, CNAME, ttl_s, (target,)) for owner, target in outcome.cnames]
    for port, target in outcome.srv:
        # A target must not be compressed (RFC 2782).
        service = _SERVICE.pack(SRV_PRIORITY, SRV_WEIGHT, port) + plain_name(target)
        fixed.append(writer.record(outcome.owner, SRV, ttl_s, (service,)))
    fixed += [writer.record(outcome.owner, PTR, ttl_s, (target,)) for target in outcome.ptr]
    v4 = _addresses(writer, outcome.owner, A, ttl_s, outcome.v4, 4)
    v6 = _addresses(writer, outcome.owner, AAAA, ttl_s, outcome.v6, 16)
    negative = outcome.verdict in (Verdict.NODATA, Verdict.NXDOMAIN)
    return Body(
        outcome.verdict,
        NXDOMAIN if outcome.verdict is Verdict.NXDOMAIN else NOERROR,
        tuple(fixed),
        v4 or v6,
        16 if v4 else 28,
        v6 if v4 else b"",
        len(outcome.v6) // 16 if v4 else 0,
        _start_of_authority(writer, outcome.zone, ttl_s) if negative else b"",
    )


def plain_name(name: str) -> bytes:
    """``name`` without compression."""
    return b"".join(map(_label, name.split("."))) + b"\0"


def _label(text: str) -> bytes:
    label = text.encode("ascii")
    if not 0 < len(label) < 64:
        raise ValueError(f"{text!r}: not a label (1 to 63 bytes)")
    return bytes((len(label),)) + label


def _addresses(
    writer: _Writer, owner: str, kind: int, ttl_s: int, packed: bytes, size: int
) -> bytes:
    """Equal-sized records: their owner has been written before, so it is two bytes."""
    if not packed:
        return b""
    front = writer.name(owner) + _RECORD.pack(kind, CLASS_IN, ttl_s, size)
    records = b"".join(front + packed[at : at + size] for at in range(0, len(packed), size))
    writer.at += len(records) - 2
    return records


def _start_of_authority(writer: _Writer, zone: str, ttl_s: int) -> bytes:
    # Both mailbox and server are made up; a zone too long for the prefix stands for itself.
    server, mailbox = f"ns.dns.{zone}", f"hostmaster.{zone}"
    if len(mailbox) > _MAXIMUM_NAME - 2:
        server = mailbox = zone
    times = _TIMES.pack(1, _SOA_REFRESH_S, _SOA_RETRY_S, _SOA_EXPIRE_S, ttl_s)
    return writer.record(zone, SOA, ttl_s, (server, mailbox, times))


def opt(do: bool, extended_rcode: int = 0) -> bytes:
    """Our OPT: version 0, no options, DO as the client set it."""
    return _OPT.pack(0, TYPE_OPT, OWN_UDP_SIZE, extended_rcode, 0, _DO if do else 0, 0)


def decode(message: bytes) -> DNSRecord:
    """``message`` by the reference codec. Raises dnslib.DNSError. Not for the hot path."""
    from dnslib import DNSRecord

    return DNSRecord.parse(message)
