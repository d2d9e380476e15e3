"""Records to systemd's journal by its native protocol: fields that can be searched for.

One datagram a record (systemd.io, "Native Journal Protocol"): a line `KEY=value` a field, or
where the value has lines of its own, `KEY`, its length as a 64-bit little-endian number, and
the value.
"""

from __future__ import annotations

import os
import re
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

SOCKET = Path("/run/systemd/journal/socket")
MAXIMUM_BYTES = 32 << 10  # of one value; a datagram of the default send buffer takes 200 KiB
MAXIMUM_NAME = 64  # journal_field_valid() of journal-file.c
_OTHERS = re.compile(r"[^A-Z0-9_]")


def name(key: str) -> str:
    """A field of ours: INTERCEPTOR_ and the key."""
    return f"INTERCEPTOR_{_OTHERS.sub('_', key.upper())}"[:MAXIMUM_NAME]


def encode(fields: Mapping[str, str]) -> bytes:
    """The datagram. Names are legal ones; long values are cut."""
    out = []
    for key, text in fields.items():
        value = text.encode(errors="replace")[:MAXIMUM_BYTES]
        if b"\n" in value:
            out.append(key.encode() + b"\n" + struct.pack("<Q", len(value)) + value + b"\n")
        else:
            out.append(key.encode() + b"=" + value + b"\n")
    return b"".join(out)


def observe_connected(fd: int, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether what is written to ``fd`` goes to the journal (systemd.exec(5), JOURNAL_STREAM).

    The variable alone is inherited by programs whose output goes elsewhere.
    """
    try:
        status = os.fstat(fd)
    except OSError:
        return False
    return environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class Channel:
    """A socket to the journal. It never waits: what the journal has no room for is counted."""

    def __init__(self, path: Path = SOCKET) -> None:
        """Raises OSError where no journal listens."""
        self.dropped = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise

    def send(self, fields: Mapping[str, str]) -> bool:
        """Whether the journal has taken it."""
        try:
            self._socket.send(encode(fields))
        except OSError:
            self.dropped += 1
            return False
        return True

    def close(self) -> None:
        self._socket.close()
