"""New connections as the kernel's connection tracking tells of them, with what NAT made of each
(linux/netfilter/nfnetlink_conntrack.h).

They are told to whoever listens, once the first packet has passed every rule of this host. The
reply's ends show where it really went; nothing has to be installed. With nobody there to listen
no message is made (since Linux 5.19 not even prepared: net.netfilter.nf_conntrack_events 2).
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from interceptor.host import netlink, nlattr
from interceptor.host.socketdiag import End
from interceptor.mesh.model import Address

EVENTS = Path("/proc/sys/net/netfilter/nf_conntrack_events")
_NEW = 1 << 8  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_NEW
_NFGENMSG_BYTES = 4
_ORIGINAL, _REPLY, _MARK = 1, 2, 8  # CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_MARK
_IP, _PROTO = 1, 2  # CTA_TUPLE_IP, CTA_TUPLE_PROTO
_SOURCES, _DESTINATIONS = (1, 3), (2, 4)  # CTA_IP_V4_SRC, CTA_IP_V6_SRC; ..._DST
_NUMBER, _SOURCE_PORT, _PORT = 1, 2, 3  # CTA_PROTO_NUM, CTA_PROTO_SRC_PORT, CTA_PROTO_DST_PORT
_SO_MEMINFO, _MEMINFO_DROPS = 55, 8  # asm-generic/socket.h; linux/sock_diag.h, SK_MEMINFO_DROPS
_AT_ONCE = 256  # messages that one `read` takes


@dataclass(frozen=True, slots=True)
class Tracked:
    """One new TCP connection. ``reached``: the end that answers, which is another than the
    destination where it was redirected. ``mark`` is the connection's."""

    source: Address
    source_port: int
    destination: Address
    port: int
    reached: Address
    reached_port: int
    mark: int = 0

    @property
    def is_redirected(self) -> bool:
        return (self.reached, self.reached_port) != (self.destination, self.port)

    @property
    def client(self) -> End:
        return str(self.source), self.source_port

    @property
    def server(self) -> End:
        """What the client dialled."""
        return str(self.destination), self.port


class Listening:
    """New TCP connections of this network namespace, from now on. `close` it."""

    def __init__(self) -> None:
        """Raises OSError: the kernel has no such messages."""
        self._socket = netlink.open_conntrack()
        self.fd = self._socket.fileno()

    def read(self) -> Iterator[Tracked]:
        """Those that are there, at most a few hundred."""
        for _ in range(_AT_ONCE):
            try:
                data = self._socket.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # some were dropped: `dropped` counts them
                    raise
                continue
            yield from decode(data)

    @property
    def dropped(self) -> int:
        """Messages (of any protocol) for which there was no room."""
        raw = self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 64)
        return int(struct.unpack_from("=I", raw, 4 * _MEMINFO_DROPS)[0])

    def close(self) -> None:
        self._socket.close()


def is_told() -> bool:
    """Whether the kernel makes messages at all; it may have been told not to."""
    try:
        return EVENTS.read_text().strip() != "0"
    except OSError:
        return True


def decode(data: bytes) -> Iterator[Tracked]:
    """The new TCP connections among the messages of one read."""
    for kind, payload in nlattr.messages(data):
        if kind == _NEW and (found := _decode(payload[_NFGENMSG_BYTES:])) is not None:
            yield found


def _decode(body: bytes) -> Tracked | None:
    told = dict(nlattr.attributes(body))
    there, back = _tuple(told.get(_ORIGINAL, b"")), _tuple(told.get(_REPLY, b""))
    if there is None or back is None:
        return None
    (source, source_port), (destination, port) = there
    (reached, reached_port), _ = back
    mark = int.from_bytes(told.get(_MARK, b""), "big")
    return Tracked(source, source_port, destination, port, reached, reached_port, mark)


def _tuple(data: bytes) -> tuple[tuple[Address, int], tuple[Address, int]] | None:
    """The two ends of one direction; None for another protocol than TCP."""
    parts = dict(nlattr.attributes(data))
    protocol = dict(nlattr.attributes(parts.get(_PROTO, b"")))
    if protocol.get(_NUMBER) != bytes([socket.IPPROTO_TCP]):
        return None
    addresses = dict(nlattr.attributes(parts.get(_IP, b"")))
    ends = []
    for numbers, place in ((_SOURCES, _SOURCE_PORT), (_DESTINATIONS, _PORT)):
        packed = next((addresses[each] for each in numbers if each in addresses), b"")
        if len(packed) not in (4, 16):
            return None
        ends.append((ip_address(packed), int.from_bytes(protocol.get(place, b""), "big")))
    return ends[0], ends[1]
