"""Notifications of the kernel: that rules, links, addresses or routes were changed.

Plain sockets: what changed is looked up by the programs that know how, so that
the messages are drained and not decoded.
"""

from __future__ import annotations

import socket

NETLINK_NETFILTER = 12  # linux/netlink.h
NFNLGRP_NFTABLES = 7  # linux/netfilter/nfnetlink.h
RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE = 1, 5, 7  # linux/rtnetlink.h
RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV6_ROUTE = 9, 11

BUFFER_BYTES = 1 << 20
"""Room for a burst (a table of 10,000 elements); what overflows it is an event as well."""


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
