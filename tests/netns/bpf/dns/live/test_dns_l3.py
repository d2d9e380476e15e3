"""Links without a link-layer header: a tun device, of which we are the other end."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from scapy.layers.inet import IP, UDP

from interceptor.host.tc import Hook

if TYPE_CHECKING:
    from tests.netns.bpf.dns.live.conftest import World

pytestmark = pytest.mark.root

TUNNEL4, TUNNEL6 = "10.77.0.1", "fd77::1"
SET_INTERFACE, TUN_WITHOUT_INFORMATION = 0x400454CA, 0x1001  # linux/if_tun.h


def open_tun() -> int:
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, SET_INTERFACE, struct.pack("16sH22x", b"t0", TUN_WITHOUT_INFORMATION))
    return descriptor


@pytest.fixture
def tun(world: World) -> Iterator[int]:
    descriptor = world.vm.call(open_tun)
    try:
        world.vm.sh("ip link set t0 up; ip addr add 10.77.0.2/24 dev t0")
        world.vm.sh("ip addr add fd77::2/64 dev t0 nodad")
        world.attach("t0", Hook.EGRESS, "dns_egress_l3")
        yield descriptor
    finally:
        os.close(descriptor)


def received(tun: int) -> list[bytes]:
    packets = []
    while True:
        try:
            packets.append(os.read(tun, 65536))
        except BlockingIOError:
            return packets


@pytest.mark.parametrize("server", [TUNNEL4, TUNNEL6])
def test_queries_into_a_tunnel_are_answered(world: World, tun: int, server: str) -> None:
    assert world.ask(world.vm, server, "reviews.bookinfo") == "10.0.0.1 10.0.0.2"
    assert world.ask(world.vm, server, "reviews.bookinfo", "AAAA") == "fd00::1"
    assert world.ask(world.vm, server, "reviews.bookinfo", "TXT") == "rcode 0"
    assert not [packet for packet in received(tun) if b"reviews" in packet]


def test_what_passes_goes_through_the_tunnel_as_it_is(world: World, tun: int) -> None:
    assert world.ask(world.vm, TUNNEL4, "www.other.test") == "lost"
    (packet,) = (packet for packet in received(tun) if b"other" in packet)
    copy = IP(packet)
    del copy.chksum
    del copy[UDP].chksum
    assert bytes(copy) == packet
