"""Netlink (linux/netlink.h): notifications that something was changed, and requests of rtnetlink.

Plain sockets. What a notification tells is looked up by the programs that know how, so that
those messages are drained and not decoded. Requests are few and small (links, tc), which a
library for all of netlink would cost the daemon 24 MB of memory for.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator

NETLINK_NETFILTER = 12  # linux/netlink.h
NFNLGRP_NFTABLES = 7  # linux/netfilter/nfnetlink.h
RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE = 1, 5, 7  # linux/rtnetlink.h
RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV6_ROUTE = 9, 11
RTNLGRP_TC = 4

BUFFER_BYTES = 1 << 20
"""Room for a burst (a table of 10,000 elements); what overflows it is an event as well."""

NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
SOL_NETLINK, NETLINK_EXT_ACK, NETLINK_CAP_ACK = 270, 11, 10
NLMSGERR_ATTR_MSG = 1
NLA_F_NESTED = 0x8000
NLA_TYPE_MASK = 0x3FFF
HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
ATTRIBUTE = struct.Struct("=HH")  # struct nlattr: length, type
TIMEOUT_S = 5
DUMP_BYTES = 1 << 17


def _open(protocol: int, *groups: int) -> socket.socket:
    """A socket of ours that becomes readable when something happens in one of the groups."""
    events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol)
    events.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    events.bind((0, sum(1 << (group - 1) for group in groups)))
    return events


def open_nftables() -> socket.socket:
    """Changes of any nft table (iptables-nft's among them) in this network namespace."""
    return _open(NETLINK_NETFILTER, NFNLGRP_NFTABLES)


def open_links() -> socket.socket:
    """Changes of links, addresses and routes in this network namespace."""
    groups = (RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR)
    return _open(socket.NETLINK_ROUTE, *groups, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE)


def nftables_events() -> int:
    """As `open_nftables`, as a bare descriptor that belongs to the caller."""
    return open_nftables().detach()


def tc_events() -> int:
    """Changes of qdiscs and filters in this network namespace. The descriptor is the caller's."""
    return _open(socket.NETLINK_ROUTE, RTNLGRP_TC).detach()


def drain(descriptor: int) -> int:
    """Read everything that waits. The number of messages; one that overflowed counts too."""
    count = 0
    events = socket.socket(fileno=descriptor)
    try:
        while True:
            try:
                events.recv(65536)
            except BlockingIOError:
                return count
            except OSError:  # ENOBUFS: the kernel dropped some, and says it once
                pass
            count += 1
    finally:
        events.detach()


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to 4 bytes."""
    length = ATTRIBUTE.size + len(value)
    return ATTRIBUTE.pack(length, kind) + value + b"\0" * (-length % 4)


def nested(kind: int, *inner: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | NLA_F_NESTED, b"".join(inner))


def parse_attributes(data: bytes) -> dict[int, bytes]:
    """Type → value; of several of one type the last."""
    found: dict[int, bytes] = {}
    at = 0
    while at + ATTRIBUTE.size <= len(data):
        length, kind = ATTRIBUTE.unpack_from(data, at)
        if length < ATTRIBUTE.size:
            break
        found[kind & NLA_TYPE_MASK] = data[at + ATTRIBUTE.size : at + length]
        at += (length + 3) // 4 * 4
    return found


def request(kind: int, flags: int, body: bytes) -> list[bytes]:
    """Ask rtnetlink in this network namespace; the messages of its answer without their headers.

    Raises OSError with the kernel's errno and, where it gives one, its sentence.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as asker:
        asker.settimeout(TIMEOUT_S)
        for option in (NETLINK_EXT_ACK, NETLINK_CAP_ACK):  # CAP: the request is not sent back
            asker.setsockopt(SOL_NETLINK, option, 1)
        asker.bind((0, 0))
        flags |= NLM_F_REQUEST | (0 if flags & NLM_F_DUMP == NLM_F_DUMP else NLM_F_ACK)
        asker.send(HEADER.pack(HEADER.size + len(body), kind, flags, 1, 0) + body)
        found: list[bytes] = []
        while True:
            for number, payload in parse_messages(asker.recv(DUMP_BYTES)):
                if number in (NLMSG_DONE, NLMSG_ERROR):
                    _raise_error(payload)
                    return found
                found.append(payload)


def parse_messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and payload of each message in one datagram."""
    at = 0
    while at + HEADER.size <= len(data):
        length, kind, *_ = HEADER.unpack_from(data, at)
        if length < HEADER.size:
            return
        yield kind, data[at + HEADER.size : at + length]
        at += (length + 3) // 4 * 4


def _raise_error(payload: bytes) -> None:
    """Read struct nlmsgerr (or what ends a dump): -errno, then the request's header."""
    code = -struct.unpack_from("=i", payload)[0] if len(payload) >= 4 else 0
    if code == 0:
        return
    attributes = parse_attributes(payload[4 + HEADER.size :])
    said = attributes.get(NLMSGERR_ATTR_MSG, b"").rstrip(b"\0").decode(errors="replace")
    raise OSError(code, said or os.strerror(code))
