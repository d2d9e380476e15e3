"""A steady asker, run as a program on a lab's host: 20 queries a second, each asked once.

argv: the server, a file whose appearance ends it, and the names, asked in turn. Prints a
line a query: name, when it was sent (monotonic, seconds), how long it took (-1: no answer
within LIMIT_S), and the addresses.
"""

from __future__ import annotations

import select
import socket
import sys
import time
from itertools import count
from pathlib import Path

PAUSE_S = 0.05
LIMIT_S = 1.0


def query(number: int, name: str) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    head = number.to_bytes(2, "big") + bytes.fromhex("01000001000000000000")
    return head + labels + bytes.fromhex("0000010001")


def addresses(answer: bytes, asked: int) -> list[str]:
    """The A records behind a question of ``asked`` bytes; owners are compressed or left whole."""
    found, at = [], asked
    for _ in range(int.from_bytes(answer[6:8], "big")):
        while answer[at] and answer[at] < 0xC0:
            at += answer[at] + 1
        at += 2 if answer[at] else 1
        kind, length = answer[at : at + 2], int.from_bytes(answer[at + 8 : at + 10], "big")
        at += 10 + length
        if kind == b"\0\1":
            found.append(socket.inet_ntoa(answer[at - length : at]))
    return found


def main(server: str, stop: str, *names: str) -> None:
    """A socket a query, so that none is answered by another's packet."""
    waiting: dict[int, tuple[socket.socket, str, float, int]] = {}
    due = time.monotonic()
    for number in count():
        if Path(stop).exists() and not waiting:
            return
        if not Path(stop).exists():
            name = names[number % len(names)]
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.connect((server, 53))
            message = query(number & 0xFFFF, name)
            waiting[sock.fileno()] = (sock, name, time.monotonic(), len(message))
            sock.send(message)
        due += PAUSE_S
        while (left := due - time.monotonic()) > 0:
            for readable in select.select([item[0] for item in waiting.values()], [], [], left)[0]:
                _tell(*waiting.pop(readable.fileno()))
        now = time.monotonic()
        for number_of, item in list(waiting.items()):
            if now - item[2] > LIMIT_S:
                _tell(*waiting.pop(number_of), is_lost=True)


def _tell(sock: socket.socket, name: str, sent: float, asked: int, is_lost: bool = False) -> None:
    got: list[str] = []
    took = -1.0
    if not is_lost:
        try:
            got, took = addresses(sock.recv(2000), asked), time.monotonic() - sent
        except OSError:
            pass
    sock.close()
    print(name, f"{sent:.3f}", f"{took:.4f}", ",".join(got), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
