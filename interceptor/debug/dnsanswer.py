"""What an answer of DNS says of a name: the addresses, and what it is an alias for (RFC 1035).

Reads answers of any server, where `dns.wire` reads plain queries only. Whatever is not an
answer to one question is None; nothing is raised.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from struct import Struct
from struct import error as StructError

from interceptor.mesh.outcome import AAAA, CNAME, A

_HEADER = Struct("!HHHH")  # id, flags, QDCOUNT, ANCOUNT
_QUESTION = Struct("!HH")  # type, class
_RECORD = Struct("!HHIH")  # type, class, TTL, RDLENGTH
_QR, _RCODE, _TC = 0x8000, 0x000F, 0x0200
_IN = 1
_LONGEST = 255
_MOST_RECORDS = 256
"""More records than any answer that a client reads; the rest of a longer one is left."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """One answer. ``name`` is the one asked, lower case, without the final dot; ``aliases``
    the targets of CNAMEs; ``cut`` whether the client has to ask again over TCP."""

    name: str
    qtype: int
    rcode: int
    addresses: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    ident: int = 0
    cut: bool = False


class _Short(Exception):
    """The message ends, or a name in it is none."""


def parse(message: bytes) -> Lookup | None:
    """``message`` without the length that stands before it in TCP. What of an answer was
    captured counts, also where its end was not."""
    if len(message) < 12:
        return None
    ident, flags, questions, answers = _HEADER.unpack_from(message)
    if not flags & _QR or questions != 1:
        return None
    try:
        name, at = _name(message, 12)
        qtype, qclass = _QUESTION.unpack_from(message, at)
    except (_Short, StructError):
        return None
    if qclass != _IN or not name:
        return None
    addresses, aliases = _answers(message, at + _QUESTION.size, min(answers, _MOST_RECORDS))
    return Lookup(name, qtype, flags & _RCODE, addresses, aliases, ident, bool(flags & _TC))


def _answers(message: bytes, at: int, count: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    addresses: list[str] = []
    aliases: list[str] = []
    try:
        for _ in range(count):
            _, at = _name(message, at)
            kind, _, _, length = _RECORD.unpack_from(message, at)
            at += _RECORD.size
            data = message[at : at + length]
            if kind == CNAME:
                aliases.append(_name(message, at)[0])
            elif kind == A and len(data) == 4:
                addresses.append(socket.inet_ntop(socket.AF_INET, data))
            elif kind == AAAA and len(data) == 16:
                addresses.append(socket.inet_ntop(socket.AF_INET6, data))
            at += length
    except (_Short, StructError):
        pass
    return tuple(dict.fromkeys(addresses)), tuple(dict.fromkeys(aliases))


def _name(message: bytes, at: int) -> tuple[str, int]:
    """The name at an offset and the offset behind it. A pointer leads backwards only, so that
    there is no end of following them."""
    labels: list[bytes] = []
    behind, size = -1, 0
    while True:
        if at >= len(message):
            raise _Short
        length = message[at]
        if length == 0:
            break
        if length >= 0xC0:
            if at + 1 >= len(message):
                raise _Short
            target = (length & 0x3F) << 8 | message[at + 1]
            behind = at + 2 if behind < 0 else behind
            if target >= at:
                raise _Short
            at = target
            continue
        size += length + 1
        if length > 63 or size > _LONGEST or at + 1 + length > len(message):
            raise _Short
        labels.append(message[at + 1 : at + 1 + length])
        at += 1 + length
    return _text(labels), at + 1 if behind < 0 else behind


def _text(labels: list[bytes]) -> str:
    """Dotted, lower case; what is no ASCII, or a dot within a label, as \\ddd (RFC 4343 §2.1)."""
    return ".".join(
        "".join(chr(c) if 0x21 <= c < 0x7F and c not in b".\\" else f"\\{c:03}" for c in label)
        for label in labels
    ).lower()
