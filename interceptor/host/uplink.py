"""By which addresses others reach this host: not the first of a list, but what the kernel would
put into packets to the control plane, or to anybody."""

from __future__ import annotations

import json
import socket
from collections.abc import Collection, Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from interceptor.host import command, probe, routechoice
from interceptor.host.routechoice import Choice

Address = IPv4Address | IPv6Address

ANYBODY: tuple[Address, ...] = (IPv4Address("192.0.2.1"), IPv6Address("2001:db8::1"))
"""Addresses for documentation (RFC 5737, RFC 3849): only a default route leads there."""


def choose(
    asked: Iterable[Choice],
    default: Iterable[Choice],
    others: Iterable[Choice],
    bridges: Collection[str],
) -> tuple[Address, ...]:
    """One address of each family, IPv4 first.

    The sources of the ways to those who are ``asked``, else of the ``default``
    routes, else the first of the ``others``, which are this host's addresses.
    ``bridges`` may have only containers behind them, so that a source there
    counts for a default route alone: then the uplink is one of its ports.
    Loopback and link-local addresses never count: nobody else could call them.
    """
    found: dict[int, Address] = {}
    for ways, may_be_bridge in ((asked, False), (default, True), (others, False)):
        for way in ways:
            if may_be_bridge or way.device not in bridges:
                _take(way.source, found)
    return tuple(found[version] for version in sorted(found))


def _take(source: Address | None, found: dict[int, Address]) -> None:
    if source is None or source.is_loopback or source.is_link_local or source.is_unspecified:
        return
    found.setdefault(source.version, source)


def parse_bridges(text: str) -> frozenset[str]:
    """Names in `ip -json link show type bridge`."""
    return frozenset(str(one["ifname"]) for one in json.loads(text or "[]") if "ifname" in one)


def observe(hosts: Sequence[str] = ()) -> tuple[Address, ...]:
    """Now. ``hosts``: names or addresses of the control planes. Blocks while a name is looked
    up; one that cannot be is passed over."""
    asked = (routechoice.observe(each) for host in hosts for each in _look_up(host))
    others = (
        Choice(address, address, device)
        for device, found in probe.addresses().items()
        for address in found
    )
    bridges = command.run(["ip", "-json", "link", "show", "type", "bridge"], check=False)
    names = parse_bridges(bridges.stdout if bridges else "")
    return choose(asked, map(routechoice.observe, ANYBODY), others, names)


def _look_up(host: str) -> list[Address]:
    try:
        found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(ip_address(str(each[4][0]).partition("%")[0]) for each in found))
