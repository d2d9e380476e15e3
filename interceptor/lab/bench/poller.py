"""Requests over one kept connection, without end; says when another backend begins to answer.

Run on a host of a lab as ``python -m interceptor.lab.bench.poller ADDRESS PORT SECONDS NAME...``.
A line is CLOCK_MONOTONIC and the backend's name, for each of the NAMEs that answers
after another of them did; who else answers is passed over. It ends with an error as soon as
the connection breaks, or an answer is not 200.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable, Iterator

PAUSE_S = 0.0003
TIMEOUT_S = 5.0
REQUEST = b"GET / HTTP/1.1\r\nHost: poller\r\n\r\n"


def decode(head: bytes) -> int:
    """The length of the body that follows. Raises ValueError unless the answer is 200."""
    status, *lines = head.split(b"\r\n")
    if status.split(b" ")[1:2] != [b"200"]:
        raise ValueError(status.decode(errors="replace"))
    for line in lines:
        key, _, value = line.partition(b":")
        if key.lower() == b"content-length":
            return int(value)
    raise ValueError("an answer without content-length")


def receive(connection: socket.socket) -> str:
    """The body of one answer. Raises ValueError and OSError."""
    got = b""
    while b"\r\n\r\n" not in got:
        got += _read(connection)
    head, _, body = got.partition(b"\r\n\r\n")
    while len(body) < decode(head):
        body += _read(connection)
    return body.decode(errors="replace").strip()


def _read(connection: socket.socket) -> bytes:
    piece = connection.recv(65536)
    if not piece:
        raise ConnectionError("the connection has ended")
    return piece


def changes(ask: Callable[[], str], names: tuple[str, ...], end_s: float) -> Iterator[str]:
    """Each of ``names`` when it answers and another did before, until the clock says ``end_s``."""
    last = ""
    while time.monotonic() < end_s:
        found = ask()
        if found in names and found != last:
            last = found
            yield found
        time.sleep(PAUSE_S)


def main(address: str, port: str, seconds: str, *names: str) -> None:
    """The command line."""
    with socket.create_connection((address, int(port)), TIMEOUT_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def ask() -> str:
            connection.sendall(REQUEST)
            return receive(connection)

        for name in changes(ask, names, time.monotonic() + float(seconds)):
            print(f"{time.monotonic():.6f} {name}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
