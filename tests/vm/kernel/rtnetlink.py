"""Messages of rtnetlink, as few as a guest needs. linux/rtnetlink.h, if_link.h, pkt_cls.h."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network

from tests.vm.kernel.order import FAMILIES, padded

NEWLINK, NEWADDR, NEWROUTE, NEWQDISC, NEWTFILTER = 16, 20, 24, 36, 44
REQUEST, ACK, EXCL, CREATE = 0x1, 0x4, 0x200, 0x400

LO = 1  # its index in every network namespace
UP = 1
HEAD_SIZE = 16

DESCRIPTOR = b"\xfd\xfe\xfd\xfe"
"""Stands for a program's descriptor, which only the guest knows."""


def link(index: int, kind: str = "") -> bytes:
    """Bring a device up; with ``kind``, make it."""
    head = struct.pack("=BxHiII", 0, 0, index, UP, UP)
    if not kind:
        return message(NEWLINK, 0, head)
    return message(NEWLINK, CREATE | EXCL, head + attribute(18, attribute(1, kind.encode())))


def address(index: int, interface: IPv4Interface | IPv6Interface) -> bytes:
    """Usable at once: no look for duplicates."""
    family, length = FAMILIES[interface.version], interface.network.prefixlen
    head = struct.pack("=BBBBi", family, length, 0x2, 0, index)
    packed = interface.ip.packed
    return message(NEWADDR, CREATE | EXCL, head + attribute(2, packed) + attribute(1, packed))


def local_route(network: IPv4Network | IPv6Network) -> bytes:
    """What `ip route add local NETWORK dev lo` does."""
    table, protocol, host, local = 255, 4, 254, 2
    family, length = FAMILIES[network.version], network.prefixlen
    head = struct.pack("=BBBBBBBBI", family, length, 0, 0, table, protocol, host, local, 0)
    to, device = network.network_address.packed, struct.pack("=I", LO)
    return message(NEWROUTE, CREATE, head + attribute(1, to) + attribute(4, device))


def clsact(index: int) -> bytes:
    head = struct.pack("=BxxxiIII", 0, index, 0xFFFF0000, 0xFFFFFFF1, 0)
    return message(NEWQDISC, CREATE | EXCL, head + attribute(1, b"clsact\0"))


def egress_filter(index: int) -> bytes:
    """A program at clsact's egress, at priority 1, for every protocol."""
    every = socket.htons(0x3)
    head = struct.pack("=BxxxiIII", 0, index, 1, 0xFFFFFFF3, 1 << 16 | every)
    direct_action = attribute(8, struct.pack("=I", 1))
    options = attribute(6, DESCRIPTOR) + attribute(7, b"tried\0") + direct_action
    return message(NEWTFILTER, CREATE | EXCL, head + attribute(1, b"bpf\0") + attribute(2, options))


def message(kind: int, flags: int, body: bytes) -> bytes:
    size = HEAD_SIZE + len(body)
    return struct.pack("=IHHII", size, kind, REQUEST | ACK | flags, 1, 0) + body


def attribute(kind: int, value: bytes) -> bytes:
    return padded(struct.pack("=HH", 4 + len(value), kind) + value, 4)
