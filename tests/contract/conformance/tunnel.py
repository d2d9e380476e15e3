"""A tunnel between two hosts: a device without a link-layer header in each, as a VPN has it.

Run on one host of a lab as ``python -m tests.contract.conformance.tunnel NAMESPACE``, with
the network namespace of the other; both get ``tun0``, and what goes into one comes out of
the other. It prints ``ready``.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import sys

from tests.contract.conformance.client import enter_namespace

DEVICE = "tun0"
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h
MTU = 65535


def open_device() -> int:
    """A new tun device of this namespace, for as long as the descriptor is open."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    request = struct.pack("16sH22x", DEVICE.encode(), IFF_TUN | IFF_NO_PI)
    fcntl.ioctl(descriptor, TUNSETIFF, request)
    return descriptor


def run(other: str) -> None:
    """Carry packets until killed."""
    here = open_device()
    enter_namespace(other)
    there = open_device()
    print("ready", flush=True)
    while True:
        for descriptor in select.select([here, there], [], [])[0]:
            try:
                os.write(there if descriptor == here else here, os.read(descriptor, MTU))
            except OSError:  # a device that is down takes nothing
                continue


if __name__ == "__main__":
    run(sys.argv[1])
