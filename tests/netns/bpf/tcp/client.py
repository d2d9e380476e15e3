"""What applications do: processes of their own in a namespace and a cgroup, and their calls."""

from __future__ import annotations

import ctypes
import json
import os
import pickle
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

CLONE_NEWNET = 0x40000000
SO_NETNS_COOKIE = 71
LIBC = ctypes.CDLL(None, use_errno=True)


class Child:
    """A function run in a forked process: in a namespace, in a cgroup, as a user."""

    def __init__(
        self, namespace: str, cgroup: Path, function: Callable[[], Any], uid: int = 0, gid: int = 0
    ) -> None:
        self._reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._reading)
            status = 1
            try:
                enter(namespace, cgroup, uid, gid)
                try:
                    result = (True, function())
                except Exception as error:
                    result = (False, error)
                with open(writing, "wb") as pipe:
                    pickle.dump(result, pipe)
                status = 0
            finally:
                os._exit(status)
        os.close(writing)

    def result(self) -> Any:
        with open(self._reading, "rb") as pipe:
            raw = pipe.read()
        os.waitpid(self.pid, 0)
        assert raw, "the child died"
        fine, value = pickle.loads(raw)
        if not fine:
            raise value
        return value


def enter(namespace: str, cgroup: Path, uid: int, gid: int) -> None:
    (cgroup / "cgroup.procs").write_text("0")
    with open(f"/run/netns/{namespace}") as file:
        assert LIBC.setns(file.fileno(), CLONE_NEWNET) == 0
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def cookie() -> int:
    with socket.socket() as one:
        raw = one.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8)
    return int.from_bytes(raw, sys.byteorder)


def read(one: socket.socket) -> dict[str, Any]:
    """What the stand-in says of a connection, with the client's own view of it."""
    line = b""
    while not line.endswith(b"\n"):
        data = one.recv(4096)
        assert data, f"closed after {line!r}"
        line += data
    told: dict[str, Any] = json.loads(line)
    told["client_peer"] = list(one.getpeername()[:2])
    told["client_own"] = list(one.getsockname()[:2])
    return told


def call(
    destination: str,
    port: int,
    *,
    family: int = 0,
    protocol: int = 0,
    source: str = "",
    prepare: Callable[[socket.socket], None] = lambda one: None,
) -> dict[str, Any]:
    """Connect, and return what the stand-in tells; raises what connect() raises."""
    wanted = family or (socket.AF_INET6 if ":" in destination else socket.AF_INET)
    with socket.socket(wanted, socket.SOCK_STREAM, protocol) as one:
        one.settimeout(3)
        if source:
            one.bind((source, 0))
        prepare(one)
        one.connect((destination, port))
        return read(one)
