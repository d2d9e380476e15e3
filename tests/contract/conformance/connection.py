"""Connections as clients make them: functions that run in a process of their own on a host."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import socket
import struct
import time
from dataclasses import dataclass

from tests.contract.conformance.question import family_of, prepare

IP_FREEBIND, IPPROTO_MPTCP = 15, 262
TCP_FASTOPEN_CONNECT, MSG_FASTOPEN = 30, 0x20000000  # linux/tcp.h, linux/socket.h
ANYWHERE = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}


@dataclass(frozen=True, slots=True)
class Dial:
    """How a stream socket connects. ``source`` and ``source_port`` are bound first."""

    address: str = ""
    port: int = 0
    source: str = ""
    source_port: int = 0
    device: str = ""
    mark: int = 0
    protocol: int = 0
    is_mapped: bool = False
    is_blocking: bool = True
    fast_open: str = ""  # "connect" or "sendto"
    timeout_s: float = 3.0


PLAIN = Dial()


@dataclass(frozen=True, slots=True)
class Seen:
    """One connection: why there is none, and how its two ends call each other.

    ``peer`` and ``own`` are the client's getpeername and getsockname; ``caller`` and
    ``server`` the same of the endpoint's socket.
    """

    error: str = ""
    took_s: float = 0.0
    peer: tuple[str, int] = ("", 0)
    own: tuple[str, int] = ("", 0)
    caller: tuple[str, int] = ("", 0)
    server: tuple[str, int] = ("", 0)

    @property
    def way(self) -> str:
        """``direct``, ``sidecar`` (somebody stands between), or an error's name.

        By the port alone: masquerading changes a container's address, and keeps its port.
        """
        if self.error:
            return self.error
        return "direct" if self.caller[1] == self.own[1] else "sidecar"


def plain(name: tuple[object, ...]) -> tuple[str, int]:
    """A socket's name without flow and scope; an IPv4-mapped address stays as it is."""
    address, port = name[:2]
    assert isinstance(address, str)
    assert isinstance(port, int)
    return address, port


def open_socket(how: Dial) -> socket.socket:
    """A socket made as ``how`` says, not connected."""
    family = socket.AF_INET6 if how.is_mapped else family_of(how.address)
    one = socket.socket(family, socket.SOCK_STREAM, how.protocol)
    one.settimeout(how.timeout_s)
    prepare(one, how.device, how.mark)
    if how.source or how.source_port:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.setsockopt(socket.SOL_IP, IP_FREEBIND, 1)  # of both families; for ::6
        one.bind((how.source or ANYWHERE[family], how.source_port))
    if how.fast_open == "connect":
        one.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
    return one


def connect(one: socket.socket, how: Dial) -> None:
    """Connect as ``how`` says. Raises OSError."""
    place = (f"::ffff:{how.address}" if how.is_mapped else how.address, how.port)
    if how.fast_open == "sendto":
        one.setblocking(True)
        one.sendto(b"early\n", MSG_FASTOPEN, place)
        one.settimeout(how.timeout_s)
    elif how.is_blocking:
        one.connect(place)
    else:
        one.setblocking(False)
        code = one.connect_ex(place)
        assert code == errno.EINPROGRESS, os.strerror(code)
        if not select.select([], [one], [], how.timeout_s)[1]:
            raise TimeoutError
        code = one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
        one.settimeout(how.timeout_s)


def listen(one: socket.socket) -> Seen:
    """What both ends of an open connection say; then an echo, so that data goes both ways."""
    if not (line := _line(one)):
        return Seen("closed")
    caller, caller_port, server, server_port = line.split()
    seen = Seen(
        peer=plain(one.getpeername()),
        own=plain(one.getsockname()),
        caller=(caller, int(caller_port)),
        server=(server, int(server_port)),
    )
    one.sendall(b"echo\n")
    while (heard := _line(one)) == "early":
        pass
    assert heard == "echo", f"the echo is {heard!r}"
    return seen


def _line(one: socket.socket) -> str:
    """One line, byte by byte, so that nothing behind it is taken."""
    data = b""
    while not data.endswith(b"\n"):
        more = one.recv(1)
        if not more:
            break
        data += more
    return data.decode().strip()


def dial(how: Dial) -> Seen:
    """One connection from its beginning to its end."""
    start = time.monotonic()
    try:
        with open_socket(how) as one:
            if how.fast_open == "connect":
                connect(one, how)
                one.sendall(b"early\n")
            else:
                connect(one, how)
            seen = listen(one)
    except OSError as error:
        name = (
            "timeout"
            if isinstance(error, TimeoutError)
            else errno.errorcode.get(error.errno or 0, str(error))
        )
        return Seen(name, time.monotonic() - start)
    return seen


def dial_twice(first: Dial, second: Dial) -> tuple[Seen, Seen]:
    """Two connections that are open at the same time."""
    with open_socket(first) as one, open_socket(second) as two:
        connect(one, first)
        seen = listen(one)
        connect(two, second)
        also = listen(two)
        one.sendall(b"still\n")
        assert _line(one) == "still"
        return seen, also


def dial_again(first: Dial, second: Dial) -> tuple[Seen, Seen]:
    """One socket that is connected, let go by AF_UNSPEC (connect(2)), and connected elsewhere."""
    libc = ctypes.CDLL(None, use_errno=True)
    nobody = struct.pack("=H", socket.AF_UNSPEC) + bytes(26)
    with open_socket(first) as one:
        connect(one, first)
        seen = listen(one)
        if libc.connect(one.fileno(), nobody, len(nobody)) != 0:
            raise OSError(ctypes.get_errno(), "AF_UNSPEC")
        connect(one, second)
        return seen, listen(one)


def dial_all(places: tuple[Dial, ...]) -> list[Seen]:
    """Connections that are opened one by one, and closed only when all have spoken."""
    with contextlib.ExitStack() as stack:
        found = []
        for how in places:
            one = stack.enter_context(open_socket(how))
            connect(one, how)
            found.append((one, listen(one)))
        for one, _ in found:
            one.sendall(b"still\n")
            assert _line(one) == "still"
        return [seen for _, seen in found]


def echo_much(how: Dial, size: int = 4 << 20) -> int:
    """How many of ``size`` bytes come back, the right ones, while they are being sent."""
    data = os.urandom(65536)
    with open_socket(how) as one:
        connect(one, how)
        listen(one)
        left, back = size, b""
        one.setblocking(False)
        while len(back) < size:
            can_read, can_write, _ = select.select([one], [one] if left else [], [], how.timeout_s)
            if not can_read and not can_write:
                raise TimeoutError
            if can_read:
                back += one.recv(1 << 20)
            if can_write:
                at = (size - left) % len(data)
                left -= one.send(data[at : at + left])
        assert back == data * (size // len(data)), "other bytes came back"
        return len(back)


def peers_of_copies(how: Dial) -> list[tuple[str, int]]:
    """getpeername of a connection's socket, of a dup of it, and in a child process."""
    with open_socket(how) as one:
        connect(one, how)
        found = [plain(one.getpeername())]
        with one.dup() as copy:
            found.append(plain(copy.getpeername()))
        read_end, write_end = os.pipe()
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(BaseException):
                os.write(write_end, " ".join(map(str, plain(one.getpeername()))).encode())
            os._exit(0)
        os.close(write_end)
        os.waitpid(pid, 0)
        address, port = os.read(read_end, 200).decode().split()
        os.close(read_end)
        return [*found, (address, int(port))]


KEPT = """
import os, socket, sys, time
one = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)
file = one.makefile("rw")
file.readline()
print("open", flush=True)
while not os.path.exists(sys.argv[3]):
    time.sleep(0.02)
file.write("still\\n")
file.flush()
print(file.readline().strip(), flush=True)
"""
"""A program that opens a connection, and uses it when a file has appeared."""
