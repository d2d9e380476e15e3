"""One ready answer to one exact query: everything but its id and its order.

A stub resolver that asks again sends the same bytes but for the id. So an
answer is kept whole, and giving it costs a slice for the rotation and two
bytes of id; even its checksum is known before.
"""

from __future__ import annotations

from dataclasses import dataclass

from interceptor.dns.wire import (
    BADVERS_EXTENDED,
    FLAG_AA,
    FLAG_CD,
    FLAG_QR,
    FLAG_RA,
    FLAG_RD,
    FLAG_TC,
    HEADER,
    Body,
    Question,
    opt,
)

Label = tuple[str, str]  # result, query type: what is counted


@dataclass(frozen=True, slots=True)
class Reply:
    """A message without its id: ``head``, a window of ``window`` bytes into ``doubled``
    that starts at any of ``turns`` multiples of ``unit``, ``tail``.

    ``total`` is the ones' complement sum of it all as 16-bit words. Turning the window
    does not change it, since the units have an even size; -1 where only a part of the
    block is shown, so that it has to be summed each time.
    """

    label: Label
    head: bytes
    tail: bytes = b""
    doubled: bytes = b""
    unit: int = 0
    turns: int = 0
    window: int = 0
    total: int = -1

    def turned(self, start: int) -> bytes:
        """The message (without id) that begins its block with record ``start``."""
        at = start * self.unit
        return self.head + self.doubled[at : at + self.window] + self.tail


def checksum_words(data: bytes) -> int:
    """The sum of 16-bit big-endian words modulo 65535, which is what the Internet
    checksum is the complement of (RFC 1071): 2**16 is 1 modulo 65535, so one division
    of the whole as one number gives it. An odd end is padded with a zero."""
    number = int.from_bytes(data, "big")
    return (number << 8 if len(data) & 1 else number) % 65535


def build(message: bytes, question: Question, body: Body, limit: int, label: Label) -> Reply:
    """The reply to ``message`` in at most ``limit`` bytes.

    Where not everything fits, TC is set and as many whole records are given as do: some
    old stubs never ask again over TCP, and some addresses serve them better than none.
    """
    if question.edns_version > 0:
        return _bad_version(message, question)
    tail = opt(question.do) if question.edns_version == 0 else b""
    room = limit - question.end - len(tail)
    fixed_size = sum(map(len, body.fixed))
    whole = fixed_size + len(body.block) + len(body.more) + len(body.authority)
    fixed, window, more, authority = body.fixed, len(body.block), body.more, body.authority
    truncated = whole > room
    if truncated:
        fixed = _fitting(body.fixed, room)
        left = room - fixed_size if len(fixed) == len(body.fixed) else 0
        window = min(window, left // body.unit * body.unit) if body.unit else 0
        more = authority = b""
    flags = _flags(question, body.rcode) | (FLAG_TC if truncated else 0)
    answers = len(fixed) + (window // body.unit if window else 0)
    answers += body.more_count if more else 0
    counts = HEADER.pack(0, flags, 1, answers, 1 if authority else 0, 1 if tail else 0)
    head = counts[2:] + message[12 : question.end] + b"".join(fixed)
    return _sealed(label, head, body, window, more + authority + tail)


def _sealed(label: Label, head: bytes, body: Body, window: int, tail: bytes) -> Reply:
    """The reply with all that can be known before: fixed bytes where nothing turns."""
    turns = len(body.block) // body.unit if body.unit else 0
    if not window or turns < 2:
        head, tail = head + body.block[:window] + tail, b""
        return Reply(label, head, total=checksum_words(head))
    total = -1
    if window == len(body.block):
        total = checksum_words(head + body.block + tail)
    return Reply(label, head, tail, body.block * 2, body.unit, turns, window, total)


def _bad_version(message: bytes, question: Question) -> Reply:
    counts = HEADER.pack(0, _flags(question, 0) & ~FLAG_AA, 1, 0, 0, 1)
    head = counts[2:] + message[12 : question.end] + opt(question.do, BADVERS_EXTENDED)
    return Reply(("badvers", "OPT"), head, total=checksum_words(head))


def _flags(question: Question, rcode: int) -> int:
    kept = question.flags & (FLAG_RD | FLAG_CD)
    return FLAG_QR | FLAG_AA | FLAG_RA | kept | rcode


def _fitting(records: tuple[bytes, ...], room: int) -> tuple[bytes, ...]:
    taken = 0
    for index, record in enumerate(records):
        taken += len(record)
        if taken > room:
            return records[:index]
    return records
