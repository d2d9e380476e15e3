"""Who has which port of this network namespace: listening TCP and bound UDP sockets."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path

from interceptor.host import tcptable

CLOSE = "07"  # a bound UDP socket's state (include/net/tcp_states.h)


@dataclass(frozen=True, slots=True)
class Occupant:
    """One socket. ``pid`` is 0 and ``comm`` empty where its process may not be looked at."""

    protocol: str
    address: str
    port: int
    uid: int
    inode: int
    pid: int = 0
    comm: str = ""


def parse(text: str, protocol: str) -> Iterator[Occupant]:
    """Listening sockets in /proc/net/tcp (tcp6), unconnected ones in udp (udp6)."""
    wanted = tcptable.LISTEN if protocol == "tcp" else CLOSE
    for row in tcptable.parse(text):
        if row.state == wanted:
            address = str(ip_address(tcptable.decode(row.local)))
            yield Occupant(protocol, address, row.port, row.uid, row.inode)


def parse_connected(text: str, port: int) -> Iterator[Occupant]:
    """Established connections to ``port`` of others in /proc/net/tcp or tcp6; address and port
    are the far end's."""
    for row in tcptable.parse(text):
        if row.state == tcptable.ESTABLISHED and row.remote.endswith(f":{port:04X}"):
            address = str(ip_address(tcptable.decode(row.remote)))
            yield Occupant("tcp", address, port, row.uid, row.inode)


def observe_connected(port: int) -> tuple[Occupant, ...]:
    """Whoever has a connection to that port of another host now."""
    found = [each for text in tcptable.observe() for each in parse_connected(text, port)]
    owners = _owners({each.inode for each in found})
    return tuple(_owned(each, owners) for each in found)


def observe() -> tuple[Occupant, ...]:
    """All of them, each with its process where that can be seen."""
    found: list[Occupant] = []
    for name in ("tcp", "tcp6", "udp", "udp6"):
        with suppress(OSError):
            text = Path(f"/proc/thread-self/net/{name}").read_text()
            found += parse(text, name.rstrip("6"))
    owners = _owners({each.inode for each in found})
    return tuple(_owned(each, owners) for each in found)


def _owned(one: Occupant, owners: Mapping[int, tuple[int, str]]) -> Occupant:
    pid, comm = owners.get(one.inode, (0, ""))
    return replace(one, pid=pid, comm=comm)


def _owners(inodes: set[int]) -> dict[int, tuple[int, str]]:
    """Inode → the first process that has it open."""
    found: dict[int, tuple[int, str]] = {}
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        with suppress(OSError):
            for descriptor in os.listdir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    kind, _, rest = os.readlink(f"/proc/{pid}/fd/{descriptor}").partition(":[")
                    inode = int(rest.rstrip("]")) if kind == "socket" else -1
                    if inode in inodes and inode not in found:
                        found[inode] = pid, Path(f"/proc/{pid}/comm").read_text().strip()
    return found
