"""Enough of DNS (RFC 1035, RFC 6891) to ask one question and read its answer."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import ip_address

A, AAAA, OPT, IN = 1, 28, 41, 1
HEADER = struct.Struct("!HHHHHH")
RD, QR, TC = 0x0100, 0x8000, 0x0200
DO = 0x8000  # RFC 3225, in the OPT record's TTL
TTL_S = 30


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. ``question`` are the bytes of its name; ``udp_size`` is the OPT record's,
    -1 without one."""

    number: int
    rcode: int
    question: bytes
    addresses: tuple[str, ...]
    udp_size: int = -1
    wants_dnssec: bool = False


def encode_name(name: str) -> bytes:
    """Labels with their lengths, the case as it is."""
    labels = (label.encode() for label in name.rstrip(".").split("."))
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def query(name: str, kind: int, number: int = 1, udp_size: int = 0) -> bytes:
    """One question; with ``udp_size`` it has an OPT record with DO set."""
    head = HEADER.pack(number, RD, 1, 0, 0, bool(udp_size))
    text = head + encode_name(name) + struct.pack("!HH", kind, IN)
    return text + struct.pack("!BHHIH", 0, OPT, udp_size, DO, 0) if udp_size else text


def question(packet: bytes) -> tuple[bytes, int, int]:
    """Name, type, and where the question ends. Raises ValueError, IndexError, struct.error."""
    at = HEADER.size
    while packet[at]:
        if packet[at] > 63:
            raise ValueError("a compressed question")
        at += 1 + packet[at]
    kind, _ = struct.unpack_from("!HH", packet, at + 1)
    return packet[HEADER.size : at + 1], kind, at + 5


def answer(packet: bytes, addresses: tuple[bytes, ...]) -> bytes:
    """A resolver's answer to a query; ``addresses`` are packed, and of the asked family."""
    _, kind, end = question(packet)
    number = HEADER.unpack_from(packet)[0]
    head = HEADER.pack(number, QR | RD | 0x80, 1, len(addresses), 0, 0)
    records = (
        struct.pack("!HHHIH", 0xC00C, kind, IN, TTL_S, len(each)) + each for each in addresses
    )
    return head + packet[HEADER.size : end] + b"".join(records)


def _skip(packet: bytes, at: int) -> int:
    while packet[at]:
        if packet[at] >= 0xC0:
            return at + 2
        at += 1 + packet[at]
    return at + 1


def parse(packet: bytes) -> Reply:
    """Read a reply. Raises ValueError where it is none."""
    try:
        return _parse(packet)
    except (IndexError, struct.error) as error:
        raise ValueError(f"no DNS message: {packet!r}") from error


def _parse(packet: bytes) -> Reply:
    number, flags, _, *counts = HEADER.unpack_from(packet)
    if not flags & QR:
        raise ValueError("no reply")
    name, _, at = question(packet)
    found: list[str] = []
    size, dnssec = -1, False
    for _ in range(sum(counts)):
        at = _skip(packet, at)
        kind, udp_size, ttl, length = struct.unpack_from("!HHIH", packet, at)
        data = packet[at + 10 : at + 10 + length]
        at += 10 + length
        if kind in (A, AAAA):
            found.append(str(ip_address(data)))
        elif kind == OPT:
            size, dnssec = udp_size, bool(ttl & DO)
    return Reply(number, flags & 0xF, name, tuple(found), size, dnssec)
