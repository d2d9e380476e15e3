"""The kernel's table of TCP sockets of this network namespace: /proc/net/tcp, tcp6 (proc(5))."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from time import sleep

from interceptor.host import socketdiag
from interceptor.host.socketdiag import End

ESTABLISHED, LISTEN = "01", "0A"  # include/net/tcp_states.h
AGAIN_S = (0.0, 0.01, 0.04)  # before each look for a connection that has to be there


@dataclass(frozen=True, slots=True)
class Row:
    """One socket. ``local`` and ``remote`` are as the kernel writes them, for most rows are
    passed over: `decode` and ``port`` read them. ``fields`` are all columns."""

    local: str
    remote: str
    state: str
    fields: tuple[str, ...]

    @property
    def port(self) -> int:
        """The local one."""
        return int(self.local.rpartition(":")[2], 16)

    @property
    def uid(self) -> int:
        """Its owner's."""
        return int(self.fields[7])

    @property
    def inode(self) -> int:
        """What names it in /proc/PID/fd."""
        return int(self.fields[9])


def parse(text: str) -> Iterator[Row]:
    """Read either file."""
    for line in text.splitlines()[1:]:
        fields = tuple(line.split())
        yield Row(fields[1], fields[2], fields[3], fields)


def decode(end: str) -> bytes:
    """The packed address of ``local`` or ``remote``: 4 or 16 bytes, written as 32-bit words in
    the machine's byte order."""
    words = end.partition(":")[0]
    numbers = (int(words[at : at + 8], 16) for at in range(0, len(words), 8))
    return struct.pack(f"={len(words) // 8}I", *numbers)


def encode(end: End) -> str:
    """An address and a port as ``local`` and ``remote`` are written."""
    packed = ip_address(end[0]).packed
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    return "".join(f"{word:08X}" for word in words) + f":{end[1]:04X}"


def find_owner(text: str, local: End, remote: End) -> int | None:
    """The uid of the socket with these ends; None where the table has none."""
    ends = encode(local), encode(remote)
    return next((row.uid for row in parse(text) if (row.local, row.remote) == ends), None)


def owner(local: End, remote: End) -> int | None:
    """Whose the connection with these ends is, in this network namespace; None where there is
    none. One that is there is missed now and then while many others come and go."""
    for pause_s in AGAIN_S:
        sleep(pause_s)
        with suppress(OSError):  # a kernel without inet_diag
            if (uid := socketdiag.owner(local, remote)) is not None:
                return uid
        found = (find_owner(text, local, remote) for text in observe())
        if (uid := next((each for each in found if each is not None), None)) is not None:
            return uid
    return None


def observe() -> Iterator[str]:
    """The text of each file; a host without IPv6 has one."""
    for name in ("tcp", "tcp6"):
        # Not of "self": a thread may be in another namespace than its process.
        with suppress(FileNotFoundError):
            yield Path(f"/proc/thread-self/net/{name}").read_text()


def has_sockets(port: int, state: str) -> bool:
    """Whether a socket with that local port is in a state.

    Read rather than tried: a connection would show in somebody's log.
    """
    try:
        rows = (row for text in observe() for row in parse(text))
        return any(row.state == state and row.port == port for row in rows)
    except OSError:
        return False
