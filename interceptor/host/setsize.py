"""How many elements ipsets have, asked of the kernel itself (linux/netfilter/ipset/ip_set.h).

Nobody tells of changes of a set, so that one has to look; a program started for each look would
be what an idle agent costs.
"""

from __future__ import annotations

import socket
import struct

from interceptor.host import nlattr
from interceptor.host.netlink import DONE, DUMP, ERROR, NETLINK_NETFILTER, encode

LIST = 6 << 8 | 7  # NFNL_SUBSYS_IPSET, IPSET_CMD_LIST
PROTOCOL = 6  # IPSET_PROTOCOL_MIN: every kernel since 2.6.39 speaks it
LIST_HEADER = 1 << 2  # IPSET_FLAG_LIST_HEADER: without the elements
ATTR_PROTOCOL, ATTR_SETNAME, ATTR_FLAGS, ATTR_DATA, ATTR_ELEMENTS = 1, 2, 6, 7, 24
NFGENMSG_BYTES = 4
BUFFER_BYTES = 1 << 16
PATIENCE_S = 2.0


def observe() -> dict[str, int] | None:
    """Name to number of elements, of every set of this network namespace; None where the kernel
    has no ipset, or does not answer."""
    body = bytes(NFGENMSG_BYTES) + nlattr.encode(ATTR_PROTOCOL, bytes([PROTOCOL]))
    body += nlattr.encode(ATTR_FLAGS, struct.pack("!I", LIST_HEADER))
    found: dict[str, int] = {}
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as asked:
            asked.settimeout(PATIENCE_S)
            asked.send(encode(LIST, body, DUMP))
            while True:
                for kind, payload in nlattr.messages(asked.recv(BUFFER_BYTES)):
                    if kind in (ERROR, DONE):
                        return found if kind == DONE else None
                    found.update(parse(payload))
    except OSError:
        return None


def parse(payload: bytes) -> dict[str, int]:
    """The set that one message tells of; a message that goes on with a set's elements has none."""
    told = dict(nlattr.attributes(payload[NFGENMSG_BYTES:]))
    inner = dict(nlattr.attributes(told.get(ATTR_DATA, b"")))
    if ATTR_SETNAME not in told or ATTR_ELEMENTS not in inner:
        return {}
    name = told[ATTR_SETNAME].rstrip(b"\0").decode(errors="replace")
    return {name: int.from_bytes(inner[ATTR_ELEMENTS], "big")}
