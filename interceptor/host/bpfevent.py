"""Records of Map.EVENTS (``bpf/include/layout.h``, struct event) as values. Pure."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from ipaddress import IPv6Address

from interceptor.host.layout import DNS_RESULTS, EVENT, TCP_RESULTS, EventKind
from interceptor.mesh.model import Address

NOBODY = 0xFFFFFFFF  # a uid
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_*")


@dataclass(frozen=True, slots=True)
class Record:
    """One decision of a program. ``time_ns`` is the kernel's clock's. ``result`` is a word of
    DNS_RESULTS or TCP_RESULTS. ``address`` is the server that was asked, or the destination;
    ``name`` what was asked, in lower case, with "..." behind it where it was cut off. What is
    not known is None, 0, empty."""

    time_ns: int
    kind: EventKind
    result: str
    uid: int | None
    interface: int
    pid: int
    comm: str
    cgroup: int
    cookie: int
    source: Address | None
    source_port: int
    address: Address | None
    port: int
    name: str
    qtype: int


def is_socket(record: bytes) -> bool:
    """Whether it is no decision, but tells who makes a socket."""
    return record[8:12] == EventKind.SOCKET.to_bytes(4, sys.byteorder)


def is_query(record: bytes) -> bool:
    """Whether it is about one."""
    return record[8:12] == EventKind.DNS.to_bytes(4, sys.byteorder)


def decode(record: bytes) -> Record:
    """Raises ValueError for what no program of this version wrote."""
    if len(record) != EVENT.size:
        raise ValueError(f"an event of {len(record)} bytes, not {EVENT.size}")
    time_ns, kind, result, uid, interface, pid, qtype, port, address, name, *rest = EVENT.unpack(
        record
    )
    cookie, cgroup, source, source_port, comm = rest
    words = DNS_RESULTS if kind == EventKind.DNS else TCP_RESULTS
    if kind == EventKind.DNS:  # these are not written
        comm = b""
        source, source_port = (source, source_port) if any(address) else (bytes(16), 0)
    if result >= len(words):
        raise ValueError(f"an event with result {result}")
    return Record(
        time_ns=time_ns,
        kind=EventKind(kind),
        result=words[result],
        uid=None if uid == NOBODY else uid,
        interface=interface,
        pid=pid,
        comm=comm.partition(b"\0")[0].decode(errors="replace"),
        cgroup=cgroup,
        cookie=cookie,
        source=decode_address(source),
        source_port=source_port,
        address=decode_address(address),
        port=port,
        name=decode_name(name) if kind == EventKind.DNS else "",
        qtype=qtype,
    )


def decode_address(packed: bytes) -> Address | None:
    """IPv4 stands as ::ffff:a.b.c.d; zeros are none."""
    address = IPv6Address(packed)
    return (address.ipv4_mapped or address) if int(address) else None


def decode_name(message: bytes) -> str:
    """The name at the begin of a piece of a DNS message (RFC 1035, section 5.1), without the last
    dot; a piece that ends before its name does is told by "..."."""
    labels, at = list[str](), 0
    while at < len(message) and (size := message[at]):
        label = message[at + 1 : at + 1 + size]
        labels.append(_label(label))
        if len(label) < size or size > 63:
            break
        at += 1 + size
    else:
        if at < len(message) or not labels:
            return ".".join(labels)
    return ".".join(labels) + "..."


def _label(raw: bytes) -> str:
    lower = raw.lower()
    return "".join(chr(byte) if byte in _PLAIN else f"\\{byte:03}" for byte in lower)
