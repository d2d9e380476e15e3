"""DNS messages as bytes: queries to send, and what has to be known of replies.

Written by hand (RFC 1035 section 4, RFC 6891), because what is sent is often wrong on purpose,
and because an oracle must not be the code that it judges.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import ip_address

A, NS, CNAME, SOA, PTR, MX, TXT, AAAA, SRV, OPT, ANY = 1, 2, 5, 6, 12, 15, 16, 28, 33, 41, 255
NOERROR, NXDOMAIN = 0, 3
QR, AA, TC, RD, RA = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080


def name(text: str) -> bytes:
    """A name without compression; ``text`` may be of any case."""
    labels = [label.encode() for label in text.strip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def query(
    text: str,
    kind: int = A,
    *,
    number: int = 0x4242,
    flags: int = RD,
    count: int = 1,
    tail: bytes = b"",
    more: int = 0,
) -> bytes:
    """A query with ``count`` questions, ``tail`` behind them, and ``more`` additional records."""
    head = struct.pack(">6H", number, flags, count, 0, 0, more)
    return head + (name(text) + struct.pack(">2H", kind, 1)) * count + tail


def edns(size: int = 1232, *, version: int = 0, do: bool = False, options: bytes = b"") -> bytes:
    """An OPT record (RFC 6891 section 6.1.2)."""
    ttl = version << 16 | (0x8000 if do else 0)
    return b"\0" + struct.pack(">HHIH", OPT, size, ttl, len(options)) + options


def option(code: int, data: bytes) -> bytes:
    """One EDNS option."""
    return struct.pack(">2H", code, len(data)) + data


@dataclass(frozen=True, slots=True)
class Record:
    """``name`` as text in the case in which it stands; ``data`` raw."""

    name: str
    kind: int
    ttl: int
    data: bytes
    klass: int = 1


@dataclass(frozen=True, slots=True)
class Reply:
    """A parsed reply. ``question`` is the question section's bytes."""

    number: int
    flags: int
    question: bytes
    answers: tuple[Record, ...]
    authority: tuple[Record, ...]
    additional: tuple[Record, ...]

    @property
    def rcode(self) -> int:
        return self.flags & 15

    @property
    def is_truncated(self) -> bool:
        return bool(self.flags & TC)

    @property
    def addresses(self) -> list[str]:
        """A and AAAA records of the answer, in order."""
        kinds = (A, AAAA)
        return [str(ip_address(each.data)) for each in self.answers if each.kind in kinds]

    @property
    def opt(self) -> Record | None:
        return next((each for each in self.additional if each.kind == OPT), None)


def parse(data: bytes) -> Reply:
    """A reply from its bytes, all of which have to be accounted for. Raises AssertionError."""
    number, flags, questions, *counts = struct.unpack(">6H", data[:12])
    at = 12
    for _ in range(questions):
        _, at = _name(data, at)
        at += 4
    question = data[12:at]
    sections = []
    for count in counts:
        records = []
        for _ in range(count):
            record, at = _record(data, at)
            records.append(record)
        sections.append(tuple(records))
    assert at == len(data), "bytes behind the message"
    return Reply(number, flags, question, *sections)


def _record(data: bytes, at: int) -> tuple[Record, int]:
    owner, at = _name(data, at)
    kind, klass, ttl, length = struct.unpack(">HHIH", data[at : at + 10])
    at += 10
    return Record(owner, kind, ttl, data[at : at + length], klass), at + length


def _name(data: bytes, at: int) -> tuple[str, int]:
    labels, end = [], 0
    while data[at]:
        if data[at] >= 0xC0:
            end = end or at + 2
            at = struct.unpack(">H", data[at : at + 2])[0] & 0x3FFF
            continue
        labels.append(data[at + 1 : at + 1 + data[at]].decode("latin-1"))
        at += 1 + data[at]
    return ".".join(labels), end or at + 1
