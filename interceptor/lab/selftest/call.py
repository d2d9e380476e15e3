"""Self-tests of TCP: calls of every sort, and whom they reach."""

from __future__ import annotations

import errno
import socket
import struct

from interceptor.lab.selftest import stage
from interceptor.lab.selftest.channel import LIMIT_S, Absent, Wrong, exactly, open_socket

IPPROTO_MPTCP, MSG_FASTOPEN = 262, 0x20000000  # linux/in.h, linux/socket.h
FAR4 = str(stage.FAR[0].ip)
SOURCE_PORT = 21077


def _line(one: socket.socket) -> list[str]:
    """The greeting. Then an echo, so that data goes both ways."""
    data = b""
    while not data.endswith(b"\n"):
        more = one.recv(1)
        if not more:
            raise Wrong("the connection was closed")
        data += more
    one.sendall(b"echo\n")
    while not exactly(one, 5).endswith(b"\n"):
        raise Wrong("data came back changed")
    return data.decode().split()


def _through(one: socket.socket, vip: str) -> str:
    """Say that an open connection is the sidecar's, and that it was meant for the VIP."""
    who, meant, port, *_ = _line(one)
    if who != "sidecar":
        raise Wrong(f"reached {who}, not the sidecar")
    if (meant, int(port)) != (vip, stage.PORT):
        raise Wrong(f"the sidecar was told {meant} port {port}")
    return f"{vip} → sidecar, which knows where it was meant to go"


def _call(vip: str, family: int, protocol: int = 0) -> str:
    with open_socket(family, socket.SOCK_STREAM, protocol) as one:
        one.connect((vip, stage.PORT))
        return _through(one, vip)


def steering() -> str:
    return _call(stage.VIPS[0][0], socket.AF_INET)


def steering6() -> str:
    return _call(stage.VIPS[0][1], socket.AF_INET6)


def peer_name() -> str:
    with open_socket(socket.AF_INET, socket.SOCK_STREAM) as one:
        one.connect((stage.VIPS[0][0], stage.PORT))
        peer = one.getpeername()
        if peer != (stage.VIPS[0][0], stage.PORT):
            raise Wrong(f"getpeername says {peer[0]} port {peer[1]}")
        return f"getpeername says {peer[0]}"


def mptcp() -> str:
    return _call(stage.VIPS[0][0], socket.AF_INET, IPPROTO_MPTCP)


def fast_open() -> str:
    with open_socket(socket.AF_INET, socket.SOCK_STREAM) as one:
        # Python's time limit would make the socket non-blocking, and the call end at once.
        one.setblocking(True)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", 1, 0))
        try:
            one.sendto(b"fast\n", MSG_FASTOPEN, (stage.VIPS[0][0], stage.PORT))
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                raise Absent("net.ipv4.tcp_fastopen is off") from error
            raise
        one.settimeout(LIMIT_S)
        return _through(one, stage.VIPS[0][0])


def mapped() -> str:
    with open_socket(socket.AF_INET6, socket.SOCK_STREAM) as one:
        one.connect((f"::ffff:{stage.VIPS[0][0]}", stage.PORT))
        return _through(one, stage.VIPS[0][0])


def same_port() -> str:
    pair = [open_socket(socket.AF_INET, socket.SOCK_STREAM) for _ in stage.VIPS]
    try:
        for one, vips in zip(pair, stage.VIPS, strict=True):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(("0.0.0.0", SOURCE_PORT))
            one.connect((vips[0], stage.PORT))
            _through(one, vips[0])
    finally:
        for one in pair:
            one.close()
    return f"both calls from port {SOURCE_PORT} reached their own"


def bound_device() -> str:
    with open_socket(socket.AF_INET, socket.SOCK_STREAM) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
        one.connect((stage.VIPS[0][0], stage.PORT))
        return _through(one, stage.VIPS[0][0])


def direct() -> str:
    with open_socket(socket.AF_INET, socket.SOCK_STREAM) as one:
        one.connect((FAR4, stage.DIRECT_PORT))
        who, *_ = _line(one)
    if who != "far":
        raise Wrong(f"reached {who}")
    return f"{FAR4} was reached directly"


def inbound() -> str:
    own = str(stage.VM[0].ip)
    with open_socket(socket.AF_INET, socket.SOCK_STREAM) as one:
        one.connect((own, stage.INBOUND_PORT))
        who, meant, port, caller, _ = _line(one)
    if (who, meant, int(port)) != ("sidecar", own, stage.INBOUND_PORT):
        raise Wrong(f"reached {who}, meant for {meant} port {port}")
    return f"{caller} → {meant}:{port} → sidecar"
