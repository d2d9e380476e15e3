"""Packets of one link, as the kernel sees them pass (packet(7)).

On its way out a packet is seen behind all netfilter hooks and tc programs, on its way in
before them.
"""

from __future__ import annotations

import enum
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass

from interceptor.host.packetfilter import NOTHING, Program
from interceptor.host.probe import Device, LinkLayer

ETH_P_ALL = 3  # linux/if_ether.h
_SOL_PACKET = 263  # linux/socket.h
_STATISTICS, _AUXDATA, _IGNORE_OUTGOING = 6, 8, 23  # linux/if_packet.h, PACKET_*
_SO_TIMESTAMPNS = 35  # asm-generic/socket.h
_SO_RCVBUFFORCE, _SO_DETACH_FILTER = 33, 27
_TIME = struct.Struct("@ll")  # struct timespec
_STATS = struct.Struct("=II")  # struct tpacket_stats: packets (lost ones too), drops
_AUX = struct.Struct("=IIIHHHH")  # struct tpacket_auxdata; the second is tp_len
_OUTGOING = 4  # PACKET_OUTGOING
_BUFFER = 16 << 20  # bytes of kernel memory for what we have not read yet
_LARGEST = 262144
_ANCILLARY = socket.CMSG_SPACE(_TIME.size) + socket.CMSG_SPACE(_AUX.size)


class Way(enum.Enum):
    IN = "in"
    OUT = "out"


@dataclass(frozen=True, slots=True)
class Packet:
    """``time_ns`` since 1970 by the kernel's clock; ``data`` what was kept of ``length`` bytes,
    from the link's header on where it has one."""

    time_ns: int
    way: Way
    data: bytes
    length: int


class PacketSocket:
    """All packets of a device that a filter lets through. Needs CAP_NET_RAW.

    ``device`` is given by its name and index at this moment; where it goes, `recv` raises
    OSError (ENETDOWN), once.
    """

    def __init__(self, device: Device, program: Program | None) -> None:
        self.device = device
        self.received = 0
        self.dropped = 0
        self._buffer = bytearray(_LARGEST)
        # SOCK_DGRAM takes the header off that a link without a known one may have.
        kind = socket.SOCK_DGRAM if device.layer is LinkLayer.NONE else socket.SOCK_RAW
        self._socket = socket.socket(socket.AF_PACKET, kind | socket.SOCK_NONBLOCK, 0)
        try:
            self._prepare(program)
        except BaseException:
            self._socket.close()
            raise

    def _prepare(self, program: Program | None) -> None:
        taker = self._socket
        NOTHING.attach(taker)
        taker.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        with suppress(PermissionError):  # without CAP_NET_ADMIN: the host's usual buffer
            taker.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        taker.setsockopt(_SOL_PACKET, _AUXDATA, 1)
        if self.device.layer is LinkLayer.LOOPBACK:
            # Each packet passes twice, going out and coming in.
            taker.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
        taker.bind((self.device.name, ETH_P_ALL))
        if program is not None:
            program.attach(taker)
        else:
            taker.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)

    def fileno(self) -> int:
        return self._socket.fileno()

    def recv(self) -> Packet | None:
        """The next packet; None where there is none now. Raises OSError."""
        try:
            kept, told, _, address = self._socket.recvmsg_into([self._buffer], _ANCILLARY)
        except BlockingIOError:
            return None
        time_ns, length = 0, kept
        for level, kind, data in told:
            if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
                second, rest = _TIME.unpack_from(data)
                time_ns = second * 1_000_000_000 + rest
            elif level == _SOL_PACKET and kind == _AUXDATA:
                length = _AUX.unpack_from(data)[1]
        way = Way.OUT if address[2] == _OUTGOING else Way.IN
        return Packet(time_ns, way, bytes(self._buffer[:kept]), max(length, kept))

    def count(self) -> None:
        """Add to ``received`` (lost ones too) and ``dropped`` what came since the last time."""
        packets, drops = _STATS.unpack(
            self._socket.getsockopt(_SOL_PACKET, _STATISTICS, _STATS.size)
        )
        self.received += packets
        self.dropped += drops

    def close(self) -> None:
        self._socket.close()
