"""Netlink messages and their attributes as bytes (linux/netlink.h). Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterator

HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
NLA = struct.Struct("=HH")  # struct nlattr: length, type
TYPE = 0x3FFF  # NLA_TYPE_MASK


def aligned(length: int) -> int:
    """As NLMSG_ALIGN and NLA_ALIGN do."""
    return length + 3 & ~3


def encode(number: int, value: bytes) -> bytes:
    """One attribute, padded."""
    head = NLA.pack(NLA.size + len(value), number)
    return (head + value).ljust(aligned(NLA.size + len(value)), b"\0")


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, payload) of each message; ends at what is none."""
    at = 0
    while at + HEADER.size <= len(data):
        length, kind, *_ = HEADER.unpack_from(data, at)
        if length < HEADER.size:
            return
        yield kind, data[at + HEADER.size : at + length]
        at += aligned(length)


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, value) of each attribute; ends at what is none."""
    at = 0
    while at + NLA.size <= len(data):
        length, number = NLA.unpack_from(data, at)
        if length < NLA.size:
            return
        yield number & TYPE, data[at + NLA.size : at + length]
        at += aligned(length)
