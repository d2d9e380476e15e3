"""Puts listening sockets of running processes where the lookup program finds them.

The listen program does so for whatever begins to listen; this is for those
that listened before it was there, or before its maps were: a sidecar that is
adopted, or somebody else's. The kernel takes a socket out when it is closed.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from interceptor.host import bpfmap, pidfd, tcptable
from interceptor.host.bpfmap import BpfMap
from interceptor.host.layout import Listener, Way

PLACES = {
    Way.OUTBOUND: (Listener.OUTBOUND4, Listener.OUTBOUND6),
    Way.INBOUND: (Listener.INBOUND4, Listener.INBOUND6),
    Way.DNS: (Listener.DNS4, Listener.DNS6),
}


@dataclass(frozen=True, slots=True)
class Listening:
    """One listening TCP socket. ``inode`` names it in /proc/PID/fd."""

    inode: int
    port: int
    address: IPv4Address | IPv6Address


def parse(text: str) -> tuple[Listening, ...]:
    """The listening sockets in /proc/net/tcp or tcp6."""
    rows = (row for row in tcptable.parse(text) if row.state == tcptable.LISTEN)
    return tuple(
        Listening(row.inode, row.port, ip_address(tcptable.decode(row.local))) for row in rows
    )


def choose(address: IPv4Address | IPv6Address, way: Way, *, v6only: bool) -> tuple[Listener, ...]:
    """The places of a listener in Map.LISTENERS; one of both families has two."""
    four, six = PLACES[way]
    if address.version == 4 or address.ipv4_mapped:
        return (four,)
    return (six,) if v6only or not address.is_unspecified else (six, four)


def register(
    listeners: BpfMap, ways: Mapping[int, Way], pids: Iterable[int] | None = None
) -> frozenset[Listener]:
    """Register who listens on the ports of ``ways`` in this network namespace: those processes
    only, or whoever it is. Returns the places that are taken now; those without a listener are
    left as they are. Raises OSError where a process lets itself be seen but not be shared.
    """
    listening = (each for text in tcptable.observe() for each in parse(text))
    wanted = {each.inode: each for each in listening if each.port in ways}
    taken: dict[Listener, bool] = {}
    for pid in _every_pid() if pids is None else pids:
        for inode, descriptor in _sockets(pid):
            if inode in wanted:
                with suppress(ProcessLookupError), _copy(pid, descriptor) as one:
                    each = wanted[inode]
                    _put(listeners, one, each, ways[each.port], taken)
    return frozenset(taken)


def _put(
    listeners: BpfMap, one: socket.socket, each: Listening, way: Way, taken: dict[Listener, bool]
) -> None:
    """A listener of one family beats one of both, whichever is found first."""
    six = each.address.version == 6
    v6only = six and bool(one.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))
    places = choose(each.address, way, v6only=v6only)
    for place in places:
        certain = place is places[0]
        if certain or not taken.get(place, False):
            listeners.update(bpfmap.index(place), bpfmap.index(one.fileno()))
            taken[place] = certain


def _every_pid() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _sockets(pid: int) -> Iterator[tuple[int, int]]:
    """Inode and descriptor of a process's sockets; none where it has ended or we may not look."""
    folder = f"/proc/{pid}/fd"
    with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
        for name in os.listdir(folder):
            with suppress(FileNotFoundError):
                kind, _, inode = os.readlink(f"{folder}/{name}").partition(":[")
                if kind == "socket":
                    yield int(inode.rstrip("]")), int(name)


def _copy(pid: int, descriptor: int) -> socket.socket:
    """A process's socket, as one of ours. Raises ProcessLookupError when either is gone."""
    process = os.pidfd_open(pid)
    try:
        copy = pidfd.copy(process, descriptor)
    finally:
        os.close(process)
    return socket.socket(fileno=copy)
