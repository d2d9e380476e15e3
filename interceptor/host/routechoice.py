"""Which way a packet would take, and by which address: the kernel's own look-up (rtnetlink(7),
RTM_GETROUTE), and its routing rules."""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from interceptor.host import command, netlink

Address = IPv4Address | IPv6Address
GET_ROUTE = 26  # linux/rtnetlink.h, RTM_GETROUTE
DST, OIF, PREFSRC = 1, 4, 7  # enum rtattr_type_t
_BODY = struct.Struct("=BBBBBBBBI")  # struct rtmsg
_ATTRIBUTE = struct.Struct("=HH")
LIMIT_S = 1
USUAL = {"local", "main", "default", "255", "254", "253"}


@dataclass(frozen=True, slots=True)
class Choice:
    """The way to one destination. ``error`` says why there is none; ``source`` is None then."""

    destination: Address
    source: Address | None = None
    device: str = ""
    error: str = ""


def encode(destination: Address) -> bytes:
    """The question, as a netlink message."""
    family = socket.AF_INET if destination.version == 4 else socket.AF_INET6
    packed = destination.packed
    body = _BODY.pack(family, len(packed) * 8, 0, 0, 0, 0, 0, 0, 0)
    body += _ATTRIBUTE.pack(_ATTRIBUTE.size + len(packed), DST) + packed
    return netlink.encode(GET_ROUTE, body)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _ATTRIBUTE.size:
        size, kind = _ATTRIBUTE.unpack_from(data)
        if size < _ATTRIBUTE.size:
            return
        yield kind, data[_ATTRIBUTE.size : size]
        data = data[(size + 3) & ~3 :]


def decode(destination: Address, answer: bytes, devices: dict[int, str]) -> Choice:
    """The kernel's answer. ``devices``: index to name."""
    kind = netlink.HEADER.unpack_from(answer)[1]
    if kind == netlink.ERROR:
        code = -struct.unpack_from("=i", answer, netlink.HEADER.size)[0]
        return Choice(destination, error=os.strerror(code))
    found = dict(_attributes(answer[netlink.HEADER.size + _BODY.size :]))
    index = int.from_bytes(found.get(OIF, b"\0" * 4), sys.byteorder)
    source = ip_address(found[PREFSRC]) if PREFSRC in found else None
    return Choice(destination, source, devices.get(index, str(index)))


def observe(destination: Address) -> Choice:
    """Which way it is now. What cannot be asked is an error in words."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as channel:
            channel.settimeout(LIMIT_S)
            channel.send(encode(destination))
            return decode(destination, channel.recv(8192), dict(socket.if_nameindex()))
    except OSError as error:
        return Choice(destination, error=error.strerror or str(error))


def parse_rules(text: str, table: int) -> tuple[str, ...]:
    """Rules of others in `ip rule`: all but the three that are always there, and ours."""
    found = []
    for line in text.splitlines():
        _, _, rule = line.partition(":")
        words = rule.split()
        name = words[words.index("lookup") + 1] if "lookup" in words[:-1] else ""
        if words[:2] == ["from", "all"] and len(words) == 4 and name in USUAL:
            continue
        if name != str(table) and words:
            found.append(" ".join(line.split()))
    return tuple(found)


def observe_rules(table: int) -> tuple[str, ...]:
    """Policy routing of others, both families. ``table`` is ours."""
    found: list[str] = []
    for version in ("-4", "-6"):
        done = command.run(["ip", version, "rule"], check=False)
        found += (f"ip {version} rule {each}" for each in parse_rules(done.stdout, table))
    return tuple(found)
