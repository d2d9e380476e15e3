"""Netlink (linux/netlink.h): notifications that something was changed, and rtnetlink by pyroute2.

Notifications come by plain sockets. What they tell is looked up by the programs that know
how, so that those messages are drained and not decoded. Only here is pyroute2 imported, and
only when rtnetlink is first asked: it takes 13 MB and a quarter of a second.
"""

from __future__ import annotations

import errno
import functools
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

from interceptor.host import nlattr

NETLINK_NETFILTER = 12  # linux/netlink.h
NFNLGRP_NFTABLES, NFNLGRP_CONNTRACK_NEW = 7, 1  # linux/netfilter/nfnetlink.h
RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE = 1, 5, 7  # linux/rtnetlink.h
RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV6_ROUTE = 9, 11
RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE = 8, 19
RTNLGRP_TC = 4

HEADER = nlattr.HEADER
REQUEST, DUMP = 0x1, 0x300  # NLM_F_REQUEST, NLM_F_DUMP
ERROR, DONE = 2, 3  # NLMSG_ERROR, NLMSG_DONE

BUFFER_BYTES = 1 << 20
"""Room for a burst (a table of 10,000 elements); what overflows it is an event as well."""


def encode(kind: int, body: bytes, flags: int = 0) -> bytes:
    """A request made by hand."""
    return HEADER.pack(HEADER.size + len(body), kind, REQUEST | flags, 0, 0) + body


def _open(protocol: int, *groups: int) -> socket.socket:
    """A socket of ours that becomes readable when something happens in one of the groups."""
    events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol)
    events.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    events.bind((0, sum(1 << (group - 1) for group in groups)))
    return events


def open_nftables() -> socket.socket:
    """Changes of any nft table (iptables-nft's among them) in this network namespace."""
    return _open(NETLINK_NETFILTER, NFNLGRP_NFTABLES)


def open_conntrack() -> socket.socket:
    """Connections that are tracked from now on, in this network namespace."""
    return _open(NETLINK_NETFILTER, NFNLGRP_CONNTRACK_NEW)


def open_links() -> socket.socket:
    """Changes of links, addresses, routes and routing rules in this network namespace."""
    addresses = (RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR)
    routes = (RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE)
    return _open(socket.NETLINK_ROUTE, RTNLGRP_LINK, *addresses, *routes)


def nftables_events() -> int:
    """As `open_nftables`, as a bare descriptor that belongs to the caller."""
    return open_nftables().detach()


def tc_events() -> int:
    """Changes of qdiscs and filters in this network namespace. The descriptor is the caller's."""
    return _open(socket.NETLINK_ROUTE, RTNLGRP_TC).detach()


def drain(descriptor: int) -> int:
    """Read everything that waits on a descriptor of events, an inotify one's as well. The number
    of reads; a message that overflowed counts too."""
    count = 0
    while True:
        try:
            os.read(descriptor, 65536)
        except BlockingIOError:
            return count
        except OSError as error:
            if error.errno != errno.ENOBUFS:  # the kernel dropped some, and says it once
                raise
        count += 1


class Message(Protocol):
    """What pyroute2 has decoded: fields by key, attributes by `get`, each by the kernel's name
    in lower case without its prefix, an attribute within another by both names.
    """

    def __getitem__(self, field: str) -> int: ...

    def get(self, attribute: tuple[str, ...]) -> int | str | bytes | None: ...


def text(message: Message, *attribute: str) -> str:
    """An attribute that is a string; empty without it."""
    value = message.get(attribute)
    # What is not UTF-8 is left as it came.
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")


def number(message: Message, *attribute: str) -> int:
    """An attribute that is a number; 0 without it."""
    value = message.get(attribute)
    return value if isinstance(value, int) else 0


class Socket(Protocol):
    """What is used of pyroute2's IPRoute."""

    def get_links(self) -> Iterable[Message]: ...

    def get_qdiscs(self) -> Iterable[Message]: ...

    def get_filters(self, index: int, handle: int, parent: int) -> Iterable[Message]: ...

    def tc(self, command: str, kind: str, index: int, **options: int | str) -> object: ...


class Route:
    """A conversation with rtnetlink, of the thread that began it and in its network namespace.

    Everything raises OSError with the kernel's errno and, where it gives one, its sentence.
    """

    def __init__(self, opened: Socket) -> None:
        self._socket = opened

    def links(self) -> list[Message]:
        """Every device (RTM_NEWLINK)."""
        with _errno():
            return list(self._socket.get_links())

    def qdiscs(self) -> list[Message]:
        """Every qdisc of every device (RTM_NEWQDISC)."""
        with _errno():
            return list(self._socket.get_qdiscs())

    def filters(self, index: int, parent: int) -> list[Message]:
        """What is attached to one place (RTM_NEWTFILTER); each list has heads with handle 0."""
        with _errno():
            return list(self._socket.get_filters(index, 0, parent))

    def tc(self, command: str, kind: str, index: int, **options: int | str) -> None:
        """Change a qdisc (`add`, `del`) or filter (`add-filter`, ...); options as pyroute2's."""
        with _errno():
            self._socket.tc(command, kind, index, **options)


@contextmanager
def open_route() -> Iterator[Route]:
    """Ask rtnetlink in this thread's network namespace. No event loop may run in the thread:
    pyroute2 runs one of its own meanwhile.
    """
    from pyroute2.iproute.linux import IPRoute
    from pyroute2.netlink.rtnl import RTM_NEWTFILTER

    with IPRoute(ext_ack=True) as opened:
        opened.register_policy(RTM_NEWTFILTER, _filter_message())
        yield Route(opened)


@contextmanager
def _errno() -> Iterator[None]:
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        yield
    except NetlinkError as error:
        raise OSError(*error.args) from error


@functools.cache
def _filter_message() -> type:
    """How filters are decoded. pyroute2's own class has neither the chain nor BPF's tag and id.

    Not derived from that one: what a class has compiled its derived ones take for theirs.
    """
    from pyroute2.netlink import nla, nlmsg
    from pyroute2.netlink.rtnl.tcmsg import tcmsg

    class Bpf(nla):  # type: ignore[misc]  # no types
        """TCA_OPTIONS of a BPF filter (linux/pkt_cls.h); of another kind it is not to be read."""

        prefix = "TCA_BPF_"
        nla_map = (
            (7, "TCA_BPF_NAME", "asciiz"),
            (10, "TCA_BPF_TAG", "hex"),
            (11, "TCA_BPF_ID", "uint32"),
        )

    class FilterMessage(nlmsg):  # type: ignore[misc]  # no types
        """struct tcmsg and TCA_* (linux/rtnetlink.h)."""

        prefix = "TCA_"
        fields = tcmsg.fields
        nla_map = (
            (1, "TCA_KIND", "asciiz"),
            (2, "TCA_OPTIONS", "bpf"),
            (11, "TCA_CHAIN", "uint32"),
        )
        bpf = Bpf

    return FilterMessage
