"""A stand-in for the sidecar, run as a program: it tells every connection what it sees of it.

    standin.py PORT:KIND:ADDRESS ...

KIND: `4`, `6`, `dual` for an IPv6 socket that serves IPv4, `reuse` for one of a group.

One JSON line a connection (which listener, SO_ORIGINAL_DST, peer, own address),
then the connection's own bytes back.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import struct
import sys

SO_ORIGINAL_DST = 80


def original(child: socket.socket, level: int) -> list[object]:
    """Address, port, and how many bytes the kernel gave; or the errno."""
    try:
        raw = child.getsockopt(level, SO_ORIGINAL_DST, 128)
    except OSError as error:
        return [error.errno]
    family, port = struct.unpack("=H", raw[:2])[0], struct.unpack("!H", raw[2:4])[0]
    if family == socket.AF_INET:
        return [socket.inet_ntoa(raw[4:8]), port, len(raw)]
    return [socket.inet_ntop(family, raw[8:24]), port, len(raw)]


def describe(child: socket.socket, place: str) -> bytes:
    told = {
        "place": place,
        "ip": original(child, socket.SOL_IP),
        "ipv6": original(child, socket.IPPROTO_IPV6),
        "peer": child.getpeername()[:2],
        "own": child.getsockname()[:2],
        "pid": os.getpid(),
    }
    return json.dumps(told).encode() + b"\n"


def listen(spec: str) -> socket.socket:
    port, family, address = spec.split(":", 2)
    one = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == "reuse":
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if one.family == socket.AF_INET6:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, family != "dual")
    one.bind((address, int(port)))
    one.listen(4096)
    return one


def serve(specs: list[str]) -> None:
    with selectors.DefaultSelector() as selector:
        for spec in specs:
            selector.register(listen(spec), selectors.EVENT_READ, spec)
        print("ready", flush=True)
        while True:
            for key, _ in selector.select():
                one = key.fileobj
                assert isinstance(one, socket.socket)
                try:
                    if key.data:
                        child, _ = one.accept()
                        selector.register(child, selectors.EVENT_READ)
                        child.sendall(describe(child, key.data))
                    elif data := one.recv(65536):
                        one.sendall(data)
                    else:
                        raise ConnectionResetError
                except OSError:
                    if not key.data:
                        selector.unregister(one)
                        one.close()


if __name__ == "__main__":
    serve(sys.argv[1:])
