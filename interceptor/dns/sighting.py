"""What the worker tells of one query while somebody traces: who asked whom for what, and why.

Pure. The hot path notes bytes only; what they say is read later, on the loop's thread.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from struct import Struct, error

from interceptor.mesh.outcome import AAAA, CNAME, NXDOMAIN, PTR, SRV, A, Verdict

Flow = tuple[str, int, str, int]
"""Source and its port, destination and its port."""

ORIGIN = "\0"
"""Stands in ``why`` where the daemon knows where the host comes from; the worker does not."""

CHANGED = "the table has changed since"
BAD_VERSION = "an EDNS version that nobody speaks (BADVERS)"
NOBODY: Flow = ("", 0, "", 0)
_HEADER = 12
_PORTS = Struct("!HH")
_COUNTS = Struct("!HHHHHH")
_RECORD = Struct("!HHIH")  # type, class, TTL, RDLENGTH
_SERVICE = Struct("!HHH")
_RCODE, _TRUNCATED = 0x000F, 0x0200
_JUMPS = 64  # compression pointers in one name


@dataclass(frozen=True, slots=True)
class Sighting:
    """One query. ``at_s`` is CLOCK_MONOTONIC's, ``answer`` the DNS message that was given
    (empty: none, it was left alone)."""

    plane: str
    protocol: str
    at_s: float
    took_s: float
    flow: Flow
    name: str
    qtype: str
    verdict: str
    host: str
    why: str
    answer: bytes = b""
    uid: int | None = None
    pid: int = 0
    comm: str = ""
    unit: str = ""


def describe(_host: str) -> str:
    """What `Answers` is to say of a host where only the daemon knows more."""
    return ORIGIN


def flow(packet: bytes) -> Flow:
    """The ends of a plain UDP packet, as `packet.answer` takes it."""
    if packet[0] >> 4 == 4:
        ends = packet[12:16], packet[16:20]
        family, at = socket.AF_INET, 20
    else:
        ends = packet[8:24], packet[24:40]
        family, at = socket.AF_INET6, 40
    if len(packet) < at + 4:
        return NOBODY
    source, destination = (socket.inet_ntop(family, end) for end in ends)
    port, to = _PORTS.unpack_from(packet, at)
    return source, port, destination, to


def message(packet: bytes) -> bytes:
    """The DNS message of a plain UDP packet."""
    return packet[28:] if packet[0] >> 4 == 4 else packet[48:]


def judge(answer: bytes | None, verdict: Verdict, why: str) -> tuple[Verdict, str]:
    """The verdict that was carried out, and its reason, where the table of now has another."""
    if answer is None:
        is_told = verdict in (Verdict.PASS, Verdict.FORWARD)
        return (verdict, why) if is_told else (Verdict.PASS, CHANGED)
    _, flags, _, count, _, _ = _COUNTS.unpack_from(answer)
    if verdict in (Verdict.PASS, Verdict.FORWARD):
        given = Verdict.ANSWER if count else Verdict.NODATA
        return Verdict.NXDOMAIN if flags & _RCODE == NXDOMAIN else given, CHANGED
    if verdict is Verdict.ANSWER and not count and not flags & _TRUNCATED:
        return Verdict.NODATA, BAD_VERSION
    return verdict, why


def texts(answer: bytes) -> tuple[str, ...]:
    """The data of a message's answer records, as people read them. Empty from the first one
    on that cannot be read: what we send can be."""
    if len(answer) < _HEADER:
        return ()
    _, _, questions, count, _, _ = _COUNTS.unpack_from(answer)
    told = []
    try:
        at = _HEADER
        for _ in range(questions):
            at = _name(answer, at)[1] + 4
        for _ in range(count):
            at = _name(answer, at)[1]
            kind, _, _, length = _RECORD.unpack_from(answer, at)
            at += _RECORD.size
            told.append(_data(answer, at, kind, length))
            at += length
    except (ValueError, IndexError, OSError, error):
        pass
    return tuple(told)


def _data(answer: bytes, at: int, kind: int, length: int) -> str:
    if kind == A:
        return socket.inet_ntop(socket.AF_INET, answer[at : at + length])
    if kind == AAAA:
        return socket.inet_ntop(socket.AF_INET6, answer[at : at + length])
    if kind in (CNAME, PTR):
        return _name(answer, at)[0]
    if kind == SRV:
        priority, weight, port = _SERVICE.unpack_from(answer, at)
        return f"{priority} {weight} {port} {_name(answer, at + _SERVICE.size)[0]}"
    return answer[at : at + length].hex()


def _name(message: bytes, at: int) -> tuple[str, int]:
    """The name at an offset (RFC 1035 §4.1.4), and the offset behind it."""
    labels: list[str] = []
    behind = 0
    for _ in range(_JUMPS):
        length = message[at]
        if length >= 0xC0:
            behind = behind or at + 2
            at = int.from_bytes(message[at : at + 2], "big") & 0x3FFF
            continue
        if not length:
            return ".".join(labels), behind or at + 1
        labels.append(message[at + 1 : at + 1 + length].decode("ascii"))
        at += 1 + length
    raise ValueError("a name that never ends")
