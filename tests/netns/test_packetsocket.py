"""Packets of a link as the kernel gives them: time, length, direction, losses."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import pytest

from interceptor.host import packetfilter, probe
from interceptor.host.packetsocket import Packet, PacketSocket, Way
from interceptor.host.probe import Device, LinkLayer

pytestmark = pytest.mark.root

TUNSETIFF, IFF_TUN = 0x400454CA, 0x0001  # linux/if_tun.h


@pytest.fixture(scope="module")
def there(namespaces: Callable[[str], Any]) -> Any:
    """A namespace with a link to another, 192.0.2.1 to 192.0.2.2."""
    here, peer = namespaces("tap"), namespaces("peer")
    here.sh(
        f"ip link add eth0 type veth peer name eth0 netns {peer.name};"
        "ip addr add 192.0.2.1/24 dev eth0; ip link set eth0 up"
    )
    peer.sh("ip addr add 192.0.2.2/24 dev eth0; ip link set eth0 up")
    return here


def device(here: Any, name: str) -> Device:
    found: Device = next(each for each in here.call(probe.devices) if each.name == name)
    return found


def open_tun(name: str) -> int:
    """A tunnel's descriptor; the tunnel goes with it."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN))
    return descriptor


def send(host: str, port: int, data: bytes, times: int = 1) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(times):
            sender.sendto(data, (host, port))


def received(taker: PacketSocket) -> list[Packet]:
    found: list[Packet] = []
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        if (packet := taker.recv()) is not None:
            found.append(packet)
    return found


def test_a_packet_on_lo_is_seen_once_with_the_kernel_s_time(there: Any) -> None:
    program = packetfilter.build("udp port 5353", packetfilter.ETHERNET, 262_144)
    taker = there.call(PacketSocket, device(there, "lo"), program)
    try:
        before = time.time_ns()
        there.call(send, "127.0.0.1", 5353, b"hello")
        there.call(send, "127.0.0.1", 5354, b"other")
        (packet,) = received(taker)
        assert before <= packet.time_ns <= time.time_ns()
        assert packet.data.endswith(b"hello")
        assert packet.length == len(packet.data) == 14 + 20 + 8 + 5
        taker.count()
        assert (taker.received, taker.dropped) == (1, 0)
    finally:
        taker.close()


def test_without_a_program_everything_is_taken(there: Any) -> None:
    taker = there.call(PacketSocket, device(there, "lo"), None)
    try:
        there.call(send, "127.0.0.1", 5354, b"other")
        assert any(packet.data.endswith(b"other") for packet in received(taker))
    finally:
        taker.close()


def test_a_packet_that_is_cut_tells_how_long_it_was(there: Any) -> None:
    program = packetfilter.build("udp port 5353", packetfilter.ETHERNET, 64)
    taker = there.call(PacketSocket, device(there, "lo"), program)
    try:
        there.call(send, "127.0.0.1", 5353, bytes(500))
        (packet,) = received(taker)
        assert (len(packet.data), packet.length) == (64, 14 + 20 + 8 + 500)
    finally:
        taker.close()


def test_a_link_tells_which_way_a_packet_goes(there: Any) -> None:
    program = packetfilter.build("udp or icmp", packetfilter.ETHERNET, 262_144)
    taker = there.call(PacketSocket, device(there, "eth0"), program)
    try:
        there.call(send, "192.0.2.2", 5353, b"to nobody's port, who is told so")
        assert [packet.way for packet in received(taker)] == [Way.OUT, Way.IN]
    finally:
        taker.close()


def test_a_link_without_a_link_layer_gives_packets_from_their_ip_header_on(there: Any) -> None:
    tun = there.call(open_tun, "tun0")
    there.sh("ip link set tun0 up; ip addr add 10.1.1.1/30 dev tun0")
    program = packetfilter.build("udp port 5353", packetfilter.RAW, 262_144)
    found = device(there, "tun0")
    assert found.layer is LinkLayer.NONE
    taker = there.call(PacketSocket, found, program)
    try:
        there.call(send, "10.1.1.2", 5353, b"hello")
        (packet,) = received(taker)
        assert (packet.data[0], packet.data[-5:]) == (0x45, b"hello")
    finally:
        taker.close()
        os.close(tun)


def test_losses_are_counted(there: Any) -> None:
    program = packetfilter.build("udp port 5353", packetfilter.ETHERNET, 262_144)
    taker = there.call(PacketSocket, device(there, "lo"), program)
    try:
        taker._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        there.call(send, "127.0.0.1", 5353, bytes(1000), 200)
        found = received(taker)
        taker.count()
        assert taker.received == 200
        assert taker.dropped == 200 - len(found) > 0
    finally:
        taker.close()
