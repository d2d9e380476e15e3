"""Packets of every device of this network namespace, seen and not touched (packet(7))."""

from __future__ import annotations

import ctypes
import enum
import errno
import socket
import struct
from dataclasses import dataclass

from interceptor.errors import Unsupported
from interceptor.host import sieve

ALL_PROTOCOLS = 0x0003  # linux/if_ether.h, ETH_P_ALL
IPV4, IPV6 = 0x0800, 0x86DD
_ATTACH_FILTER, _RECEIVE_BUFFER = 26, 33  # asm-generic/socket.h; SO_RCVBUFFORCE
_SOL_PACKET, _PACKET_STATISTICS = 263, 6  # linux/socket.h, linux/if_packet.h
_COUNTS = struct.Struct("=II")  # packets, drops; since it was last asked
_PROGRAM = struct.Struct("@HP")  # struct sock_fprog
_NOTHING = sieve.encode([sieve.Op(sieve.RETURN, 0)])
BUFFER_BYTES = 8 << 20
LARGEST = 65536


class Way(enum.Enum):
    """Where a packet was going when it was seen."""

    OUT = "out"
    IN = "in"
    PAST = "past"  # for another machine


_WAYS = {socket.PACKET_HOST: Way.IN, socket.PACKET_OUTGOING: Way.OUT}


@dataclass(frozen=True, slots=True)
class Packet:
    """From the IP header on, as far as the filter kept it."""

    data: bytes
    device: str
    way: Way


class Sniffer:
    """Packets by a filter. Not promiscuous: only what this host sends and is sent."""

    def __init__(self, program: bytes) -> None:
        """``program`` as `sieve.encode` gives it. Raises Unsupported without the right to see."""
        try:
            self._socket = socket.socket(
                socket.AF_PACKET,
                socket.SOCK_DGRAM | socket.SOCK_NONBLOCK,
                socket.htons(ALL_PROTOCOLS),
            )
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EAFNOSUPPORT):
                raise
            raise Unsupported("seeing packets", "root, or CAP_NET_RAW") from error
        self._lost = 0
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _RECEIVE_BUFFER, BUFFER_BYTES)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        # It has been open for everything since it was made.
        self.filter(_NOTHING)
        while self.recv() is not None:
            pass
        self.lost()
        self._lost = 0
        self.filter(program)

    def filter(self, program: bytes) -> None:
        """From now on this program decides."""
        attach(self._socket, program)

    def fileno(self) -> int:
        return self._socket.fileno()

    def recv(self) -> Packet | None:
        """The next IP packet; None where none waits. What lo carries is seen once, as it comes."""
        while True:
            try:
                data, (device, protocol, kind, _, _) = self._socket.recvfrom(LARGEST)
            except BlockingIOError:
                return None
            except OSError as error:
                if error.errno != errno.ENETDOWN:  # a device went; it is said once
                    raise
                continue
            if protocol in (IPV4, IPV6) and not (device == "lo" and kind == socket.PACKET_OUTGOING):
                return Packet(data, device, _WAYS.get(kind, Way.PAST))

    def lost(self) -> int:
        """Packets that passed the filter and found no room, since the socket was opened."""
        raw = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _COUNTS.size)
        self._lost += _COUNTS.unpack(raw)[1]
        return self._lost

    def close(self) -> None:
        self._socket.close()


def attach(one: socket.socket, program: bytes) -> None:
    """Give a socket a filter; the kernel keeps a copy. OSError (EINVAL) for one it refuses."""
    room = ctypes.create_string_buffer(program, len(program))
    one.setsockopt(
        socket.SOL_SOCKET,
        _ATTACH_FILTER,
        _PROGRAM.pack(len(program) // 8, ctypes.addressof(room)),
    )
