"""Asks for one name until the answer holds an address, and says when that was.

Run on a host of a lab as ``python -m interceptor.lab.waiter SERVER NAME ADDRESS SECONDS``.
It prints ``polling``, and then CLOCK_MONOTONIC, which is the same for every
process of the machine; it asks a thousand times a second, in a socket of its own.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from ipaddress import IPv4Address

PAUSE_S = 0.001
TYPE_A, CLASS_IN = 1, 1


def encode(name: str, number: int) -> bytes:
    """A query of type A, recursion desired (RFC 1035 section 4.1)."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    head = struct.pack(">6H", number & 0xFFFF, 0x0100, 1, 0, 0, 0)
    return head + labels + b"\0" + struct.pack(">2H", TYPE_A, CLASS_IN)


def holds(reply: bytes, question: bytes, address: IPv4Address) -> bool:
    """Whether ``reply`` answers ``question`` with a record of that address."""
    record = struct.pack(">H", len(address.packed)) + address.packed
    return reply[:2] == question[:2] and record in reply[len(question) :]


def wait(server: str, name: str, address: IPv4Address, seconds: float) -> float:
    """CLOCK_MONOTONIC of the first right answer. Raises TimeoutError when none comes."""
    end = time.monotonic() + seconds
    number = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect((server, 53))
        client.settimeout(1)
        while time.monotonic() < end:
            number += 1
            question = encode(name, number)
            client.send(question)
            try:
                if holds(client.recv(4096), question, address):
                    return time.monotonic()
            except TimeoutError:
                continue
            time.sleep(PAUSE_S)
    raise TimeoutError(f"{name} was not {address} within {seconds:g} s")


if __name__ == "__main__":
    print("polling", flush=True)
    wanted = IPv4Address(sys.argv[3])
    print(f"{wait(sys.argv[1], sys.argv[2], wanted, float(sys.argv[4])):.6f}", flush=True)
