"""The question of a DNS message, and the query that an answer was given to (RFC 1035, RFC 6891).

A query that is answered in the kernel, or in a queue, passes no place where packets can be
seen; but its answer repeats its id, its question byte for byte and whether it had an OPT.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from struct import error as StructError

_HEADER = Struct("!HHHHHH")
_FIXED = Struct("!HHIH")  # type, class, TTL, RDLENGTH
_QR, _OPCODE, _RD, _CD = 0x8000, 0x7800, 0x0100, 0x0010
_OPT = 41
_POINTER = 0xC0
_LONGEST = 255
_MOST_RECORDS = 64


@dataclass(frozen=True, slots=True)
class Question:
    """``name`` is lower case, without the final dot; ``end`` is where the question ends."""

    ident: int
    is_answer: bool
    name: str
    qtype: int
    end: int


def parse(message: bytes) -> Question | None:
    """The one question of a message of opcode QUERY; None of all else. Raises nothing."""
    if len(message) < _HEADER.size:
        return None
    ident, flags, count, _, _, _ = _HEADER.unpack_from(message)
    if count != 1 or flags & _OPCODE:
        return None
    at, labels = _HEADER.size, []
    try:
        while length := message[at]:
            if length >= _POINTER or at > _HEADER.size + _LONGEST:
                return None
            labels.append(message[at + 1 : at + 1 + length])
            at += 1 + length
        qtype = int.from_bytes(message[at + 1 : at + 3], "big")
    except IndexError:
        return None
    if len(message) < at + 5:
        return None
    name = b".".join(labels).lower().decode("ascii", "backslashreplace")
    return Question(ident, bool(flags & _QR), name, qtype, at + 5)


def encode_query(answer: bytes, question: Question) -> bytes:
    """The query that ``answer`` answers. What options its OPT had, if it had one, is not told
    by an answer; nor is the size of answers that it took, for which the server's stands."""
    flags = int.from_bytes(answer[2:4], "big") & (_RD | _CD)
    opt = _opt(answer, question.end)
    head = _HEADER.pack(question.ident, flags, 1, 0, 0, 1 if opt else 0)
    return head + answer[_HEADER.size : question.end] + opt


def _opt(message: bytes, at: int) -> bytes:
    """The OPT record of a message, without its options; nothing where there is none."""
    _, _, _, answers, authorities, additionals = _HEADER.unpack_from(message)
    try:
        for _ in range(min(answers + authorities + additionals, _MOST_RECORDS)):
            at = _behind_name(message, at)
            kind, size, fields, length = _FIXED.unpack_from(message, at)
            if kind == _OPT:
                # Extended RCODE and version are the server's: of the fields the DO bit stays.
                return b"\0" + _FIXED.pack(_OPT, size, fields & 0x8000, 0)
            at += _FIXED.size + length
    except (IndexError, StructError):
        pass
    return b""


def _behind_name(message: bytes, at: int) -> int:
    while length := message[at]:
        if length >= _POINTER:
            return at + 2
        at += 1 + length
    return at + 1
