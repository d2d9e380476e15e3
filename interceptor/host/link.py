"""Network devices, as rtnetlink tells them (linux/if_link.h)."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from interceptor.host import netlink
from interceptor.host.netlink import Message, number, text


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
    with netlink.open_route() as route:
        found = [parse(message) for message in route.links()]
    return tuple(sorted(found, key=lambda link: link.index))


def parse(message: Message) -> Link:
    """Read RTM_NEWLINK."""
    return Link(
        index=message["index"],
        name=text(message, "ifname"),
        hardware=message["ifi_type"],
        flags=message["flags"],
        kind=text(message, "linkinfo", "kind"),
        master=number(message, "master"),
        master_kind=text(message, "linkinfo", "slave_kind"),
    )
