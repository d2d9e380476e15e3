"""A few questions of the agent's own to the host's name servers, by sockets that bear our mark.

libc's sockets bear none, so that its questions get the mesh's answers. No cache and no TCP: an
answer that is cut off has addresses enough.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address

from interceptor.host import dial
from interceptor.host.dial import Way

Address = IPv4Address | IPv6Address

A, AAAA = 1, 28  # RFC 1035 section 3.2.2, RFC 3596
_HEADER = struct.Struct("!6H")
_RECORD = struct.Struct("!HHIH")  # type, class, TTL, length
_SIZES = {A: 4, AAAA: 16}


def ask(name: str, servers: Sequence[Address], mark: int, timeout_s: float) -> tuple[str, ...]:
    """The addresses of a name as it stands, IPv4 first; none where no server gives one. Blocks."""
    found: list[str] = []
    for kind in (A, AAAA):
        for server in servers:
            number = secrets.randbits(16)
            try:
                query = encode(name, kind, number)
                answer, _ = dial.ask(server, query, Way(mark), timeout_s)
                told = decode(answer, kind)
            except (OSError, ValueError):
                continue
            found += told
            break
    return tuple(dict.fromkeys(found))


def encode(name: str, kind: int, number: int) -> bytes:
    """A question with recursion desired (RFC 1035, section 4). Raises ValueError for no name."""
    labels = [label.encode("ascii") for label in name.rstrip(".").split(".")]
    if not all(0 < len(label) < 64 for label in labels):
        raise ValueError(f"{name}: no DNS name")
    wire = b"".join(bytes((len(label),)) + label for label in labels)
    return _HEADER.pack(number, 0x0100, 1, 0, 0, 0) + wire + b"\0" + struct.pack("!HH", kind, 1)


def decode(data: bytes, kind: int) -> list[str]:
    """The addresses in the answer section, whoever's they are: the server has followed CNAMEs.
    None where the name does not exist; raises ValueError for a failure, or for no answer."""
    try:
        _, flags, questions, answers, _, _ = _HEADER.unpack_from(data)
        if not flags & 0x8000 or flags & 0xF not in (0, 3):
            raise ValueError(f"flags {flags:#06x}")
        at = _HEADER.size
        for _ in range(questions):
            at = _skip(data, at) + 4
        found = []
        for _ in range(answers):
            at = _skip(data, at)
            told, _, _, length = _RECORD.unpack_from(data, at)
            at += _RECORD.size
            if told == kind and length == _SIZES[kind]:
                found.append(_address(data[at : at + length]))
            at += length
    except (struct.error, IndexError) as error:
        raise ValueError("the answer is cut off") from error
    return found


def _skip(data: bytes, at: int) -> int:
    """Behind the name that begins there."""
    while length := data[at]:
        if length >= 0xC0:
            return at + 2
        at += 1 + length
    return at + 1


def _address(data: bytes) -> str:
    if len(data) == _SIZES[A]:
        return str(IPv4Address(data))
    return str(IPv6Address(data))  # raises ValueError (AddressValueError) when it is too short
