"""A netfilter queue seen from beside its reader: what waits there, and letting all of it go on.

The kernel takes settings and verdicts only through the socket that is bound, of which anybody
may hold a duplicate (linux/netfilter/nfnetlink_queue.h).
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from interceptor.host import netlink

PROC_QUEUES = Path("/proc/thread-self/net/netfilter/nfnetlink_queue")
LENGTH, MASK, FLAGS = 3, 4, 5  # NFQA_CFG_QUEUE_MAXLEN, NFQA_CFG_MASK, NFQA_CFG_FLAGS
_CONFIG = 3 << 8 | 2  # NFNL_SUBSYS_QUEUE, NFQNL_MSG_CONFIG
_VERDICTS = 3 << 8 | 3  # NFQNL_MSG_VERDICT_BATCH
_VERDICT_HEADER, _ACCEPT = 2, 1  # NFQA_VERDICT_HDR; linux/netfilter.h, NF_ACCEPT
_NETFILTER = 12  # linux/netlink.h, NETLINK_NETFILTER
_LOOK_S = 0.02


@dataclass(frozen=True, slots=True)
class Row:
    """One queue, as the kernel's seq_show in nfnetlink_queue.c tells it: packets that wait, that
    were dropped because queue or socket buffer was full, and the last one's id."""

    waiting: int
    queue_full: int
    socket_full: int
    last: int


def observe(number: int) -> Row | None:
    """A queue's row; None where nobody is bound to it."""
    try:
        rows = PROC_QUEUES.read_text().splitlines()
    except OSError:
        return None
    for row in rows:
        columns = row.split()
        if len(columns) >= 8 and columns[0] == str(number):
            return Row(*(int(columns[at]) for at in (2, 5, 6, 7)))
    return None


def encode_settings(number: int, settings: Mapping[int, int]) -> bytes:
    """A change of the queue's settings."""
    body = b"".join(
        struct.pack("=HH", 8, kind) + struct.pack("!I", value) for kind, value in settings.items()
    )
    return _encode(_CONFIG, number, body)


def _encode(kind: int, number: int, body: bytes) -> bytes:
    return netlink.encode(kind, struct.pack("!BBH", socket.AF_UNSPEC, 0, number) + body)


def accept_all(descriptor: int, number: int) -> int:
    """Let everything that waits in a queue go on, and everything that comes. Returns how many
    packets waited. ``descriptor`` is a duplicate of the socket that is bound, and whose reader
    is gone. Raises OSError."""
    row = observe(number)
    waiting, last = (row.waiting, row.last) if row is not None else (0, 0)
    # Ids grow by one a packet, and wrap; the kernel compares their distance, as of two times.
    beyond = (last + (1 << 30)) & 0xFFFFFFFF
    verdict = struct.pack("=HH", 12, _VERDICT_HEADER) + struct.pack("!II", _ACCEPT, beyond)
    with socket.socket(fileno=os.dup(descriptor)) as bound:
        if (bound.family, bound.proto) != (socket.AF_NETLINK, _NETFILTER):
            raise OSError(f"descriptor {descriptor} is no netfilter socket")
        # No room first, so that nothing new comes to wait (the queue fails open).
        bound.send(encode_settings(number, {LENGTH: 0}))
        bound.send(_encode(_VERDICTS, number, verdict))
    return waiting


def settle(descriptor: int, number: int, patience_s: float) -> int:
    """`accept_all`, unless a reader that lives still has dealt with what waits by then. Returns
    how many packets went on by us. Closes ``descriptor``."""
    until_s = monotonic() + patience_s
    try:
        while (row := observe(number)) is not None and row.waiting:
            if monotonic() > until_s:
                with suppress(OSError):
                    return accept_all(descriptor, number)
                break
            sleep(_LOOK_S)
        return 0
    finally:
        os.close(descriptor)
