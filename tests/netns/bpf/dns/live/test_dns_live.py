"""The DNS programs on devices: a VM with an uplink, a stub on lo, a container behind a bridge."""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from dnslib import DNSRecord

from interceptor.host.layout import HANDOVER, Place, State

if TYPE_CHECKING:
    from tests.netns.bpf.dns.live.conftest import World

pytestmark = pytest.mark.root

SERVER4, SERVER6, STUB = "10.99.0.1", "fd99::1", "127.0.0.53"
ETHTOOL, SET_TX_CHECKSUM = 0x8946, 0x17  # linux/sockios.h, linux/ethtool.h


@pytest.mark.parametrize("server", [SERVER4, SERVER6, STUB, "::1"])
def test_mesh_names_are_answered_and_nobody_hears_of_them(world: World, server: str) -> None:
    """INPUT takes nothing but established flows, and strict reverse paths are wanted."""
    world.log(world.server).write_text("")
    for kind, wanted in (("A", "10.0.0.1 10.0.0.2"), ("AAAA", "fd00::1"), ("TXT", "rcode 0")):
        assert world.ask(world.vm, server, "reviews.bookinfo", kind) == wanted
    assert world.ask(world.vm, server, "any.wild.test") == "240.240.0.9"
    assert world.ask(world.vm, server, "www.other.test") == "192.0.2.1"
    heard = world.log(world.server).read_text()
    assert "www.other.test" in heard or server in (STUB, "::1")
    assert "reviews" not in heard
    assert "wild" not in heard


@pytest.mark.parametrize("server", [SERVER4, SERVER6])
def test_a_masqueraded_container_is_answered_by_hand(world: World, server: str) -> None:
    assert world.ask(world.container, server, "reviews.bookinfo") == "10.0.0.1 10.0.0.2"
    assert world.ask(world.container, server, "www.other.test") == "192.0.2.1"


def test_checksums_are_right_where_no_device_makes_them(world: World) -> None:
    """tcpdump in the container checks what really arrives."""
    for space in (world.container, world.vm):
        space.call(set_tx_checksum, "eth0", False)
    watch = ["tcpdump", "-i", "eth0", "-nvv", "-c", "4", "--immediate-mode", "udp src port 53"]
    child = world.container.call(
        subprocess.Popen, watch, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        while "listening" not in child.stderr.readline():
            pass
        for server in (SERVER4, SERVER6):
            for kind in ("A", "AAAA"):
                world.ask(world.container, server, "reviews.bookinfo", kind)
        said, _ = child.communicate(timeout=10)
    finally:
        child.kill()
        for space in (world.container, world.vm):
            space.call(set_tx_checksum, "eth0", True)
    assert said.count("udp sum ok") == 4, said
    assert world.ask(world.vm, SERVER4, "reviews.bookinfo") == "10.0.0.1 10.0.0.2"


def set_tx_checksum(device: str, wanted: bool) -> None:
    """`ethtool -K DEVICE tx on|off`."""
    value = ctypes.create_string_buffer(struct.pack("=II", SET_TX_CHECKSUM, wanted))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        ifreq = struct.pack("=16sQ", device.encode(), ctypes.addressof(value)) + b"\0" * 16
        fcntl.ioctl(any_socket, ETHTOOL, ifreq)


def test_libc_and_dig_take_the_answers(world: World) -> None:
    folder = Path("/etc/netns", world.vm.name)
    folder.mkdir(parents=True)
    try:
        (folder / "resolv.conf").write_text(f"nameserver {SERVER4}\noptions timeout:1 edns0\n")
        enter = ["ip", "netns", "exec", world.vm.name]
        argv = [*enter, "getent", "ahosts", "reviews.bookinfo"]
        found = subprocess.run(argv, capture_output=True, text=True, timeout=20).stdout
        assert {line.split()[0] for line in found.splitlines()} == {
            "10.0.0.1",
            "10.0.0.2",
            "fd00::1",
        }
    finally:
        (folder / "resolv.conf").unlink()
        folder.rmdir()
    said = world.vm.sh(f"dig +tries=1 +time=1 @{SERVER6} rEviews.bookinfo.svc MX")
    assert "status: NOERROR" in said
    assert "flags: qr aa rd ra; QUERY: 1, ANSWER: 0, AUTHORITY: 1, ADDITIONAL: 1" in said
    assert "rEviews.bookinfo.svc." in said


def test_a_thousand_queries_are_all_answered(world: World) -> None:
    def flood() -> int:
        got = 0
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.settimeout(1)
            one.connect((SERVER4, 53))
            for number in range(1000):
                question = DNSRecord.question(f"n{number}.wild.test")
                one.send(bytes(question.pack()))
                answer = DNSRecord.parse(one.recv(512))
                assert answer.header.id == question.header.id
                got += str(answer.a.rdata) == "240.240.0.9"
        return got

    assert world.vm.call(flood) == 1000


def test_a_query_for_the_worker_is_handed_over_without_an_error(world: World) -> None:
    name = "reviews.bookinfo.corp.test"
    assert world.ask(world.vm, SERVER4, name) == "rcode 5", "nobody reads: dnsmasq refuses"
    world.set_state(State.WORKER_NS, 1 << 62)
    for space, server, place in (
        (world.vm, SERVER4, Place.EGRESS),
        (world.vm, SERVER6, Place.EGRESS),
        (world.vm, STUB, Place.LO),
        (world.container, SERVER4, Place.BRIDGE),
    ):
        assert world.ask(space, server, name) == "lost"
        (record,) = world.ring.read()
        length, _, where, _, packet = HANDOVER.unpack(record.ljust(HANDOVER.size, b"\0"))
        assert where == place
        version = 6 if ":" in server else 4
        assert packet[0] >> 4 == version
        message = packet[:length][48 if version == 6 else 28 :]
        assert str(DNSRecord.parse(message).q.qname) == f"{name}."
