"""Network devices, as rtnetlink tells them (linux/if_link.h)."""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass

from interceptor.host import netlink

RTM_GETLINK = 18  # linux/rtnetlink.h
IFINFO = struct.Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, change
IFLA_IFNAME, IFLA_MASTER, IFLA_LINKINFO = 3, 10, 18
IFLA_INFO_KIND, IFLA_INFO_SLAVE_KIND = 1, 4


class Hardware(enum.IntEnum):
    """ARPHRD_* (linux/if_arp.h): those that are told apart. A device may have any other number."""

    ETHER = 1
    PPP = 512
    TUNNEL = 768
    TUNNEL6 = 769
    LOOPBACK = 772
    SIT = 776
    IPGRE = 778
    IP6GRE = 823
    RAWIP = 519
    NONE = 0xFFFE


class Flag(enum.IntFlag):
    """IFF_* (linux/if.h)."""

    UP = 0x1
    LOOPBACK = 0x8
    POINTOPOINT = 0x10
    RUNNING = 0x40
    NOARP = 0x80


@dataclass(frozen=True, slots=True)
class Link:
    """``kind``: `veth`, `bridge`, `wireguard`, ...; empty for hardware and lo.

    ``master`` is the index of the device that it is a port of (0: none), ``master_kind`` what
    that is: `bridge`, `bond`, `vrf`.
    """

    index: int
    name: str
    hardware: int
    flags: int
    kind: str
    master: int
    master_kind: str


def observe() -> tuple[Link, ...]:
    """The devices of this network namespace, by index."""
    found = netlink.request(RTM_GETLINK, netlink.NLM_F_DUMP, IFINFO.pack(0, 0, 0, 0, 0))
    return tuple(sorted((parse(message) for message in found), key=lambda link: link.index))


def parse(message: bytes) -> Link:
    """Read RTM_NEWLINK, without its header."""
    _, hardware, index, flags, _ = IFINFO.unpack_from(message)
    attributes = netlink.parse_attributes(message[IFINFO.size :])
    info = netlink.parse_attributes(attributes.get(IFLA_LINKINFO, b""))
    master = attributes.get(IFLA_MASTER)
    return Link(
        index,
        _text(attributes.get(IFLA_IFNAME)),
        hardware,
        flags,
        _text(info.get(IFLA_INFO_KIND)),
        struct.unpack("=I", master)[0] if master else 0,
        _text(info.get(IFLA_INFO_SLAVE_KIND)),
    )


def _text(value: bytes | None) -> str:
    return (value or b"").rstrip(b"\0").decode(errors="replace")
