"""connect4, connect6: every variety of socket reaches the sidecar and sees what it always saw."""

from __future__ import annotations

import ctypes
import json
import os
import select
import socket
import struct
import time
from dataclasses import dataclass
from typing import Any

import pytest

pytestmark = pytest.mark.root

IPPROTO_MPTCP = 262
VM4, VM6 = "10.0.0.2", "fd10::2"


@dataclass(frozen=True)
class Way:
    """How a destination is called: by which family of socket, and from which address."""

    family: int
    destination: str
    other: str
    source: str
    loopback: str

    @property
    def plain(self) -> str:
        return self.destination.removeprefix("::ffff:")

    def told(self, told: dict[str, Any]) -> list[Any]:
        """Address and port of SO_ORIGINAL_DST, as a sidecar asks for it."""
        found = told["ip" if "." in self.destination else "ipv6"]
        return list(found[:2])


WAYS = {
    "v4": Way(socket.AF_INET, "10.96.0.7", "10.97.0.9", VM4, "127.0.0.1"),
    "v6": Way(socket.AF_INET6, "2001:2::7", "2001:2::9", VM6, "::1"),
    "mapped": Way(
        socket.AF_INET6,
        "::ffff:10.96.0.7",
        "::ffff:10.97.0.9",
        f"::ffff:{VM4}",
        "::ffff:127.0.0.1",
    ),
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    return WAYS[request.param]


def check(way: Way, told: dict[str, Any], *, source: str = "") -> None:
    """The sidecar knows the destination; the client sees it, and its own usual address."""
    assert told["place"].startswith("15001:")
    assert way.told(told) == [way.plain, 80]
    assert told["client_peer"] == [way.destination, 80]
    assert told["client_own"][0] == (source or way.source)
    assert told["peer"] == [told["client_own"][0].removeprefix("::ffff:"), told["client_own"][1]]


def test_a_plain_socket_is_captured(on, client, way: Way) -> None:
    check(way, on.run(client, way.destination, 80, family=way.family))
    assert on.counted() == {"outbound": 1}


def test_so_original_dst_has_the_size_of_its_address(on, client, way: Way) -> None:
    told = on.run(client, way.destination, 80, family=way.family)
    assert told["ipv6"][2] == 28
    if way is not WAYS["v6"]:
        assert told["ip"][2] == 16


def test_an_mptcp_socket_is_captured_and_sees_its_own_peer(on, client, way: Way) -> None:
    told = on.run(client, way.destination, 80, family=way.family, protocol=IPPROTO_MPTCP)
    check(way, told)


def test_a_socket_bound_to_this_hosts_address_keeps_it(on, client, way: Way) -> None:
    told = on.run(client, way.destination, 80, family=way.family, source=way.source)
    check(way, told)


def test_a_socket_bound_to_loopback_keeps_it(on, client, way: Way) -> None:
    told = on.run(client, way.destination, 80, family=way.family, source=way.loopback)
    check(way, told, source=way.loopback)


def test_a_socket_bound_to_a_device_reaches_the_sidecar(on, client, way: Way) -> None:
    def bind(one: socket.socket) -> None:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"v0\0")

    check(way, on.run(client, way.destination, 80, family=way.family, prepare=bind))


def test_a_device_bound_socket_to_elsewhere_stays_bound(on) -> None:
    def bound() -> tuple[bytes, int]:
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"v0\0")
            refused = one.connect_ex(("10.50.0.1", 1))
            return one.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16), refused

    name, refused = on.run(bound)
    assert name.rstrip(b"\0") == b"v0"
    assert refused


def test_a_non_blocking_connect_is_captured(on, client, way: Way) -> None:
    def connect() -> dict[str, Any]:
        with socket.socket(way.family) as one:
            one.setblocking(False)
            assert one.connect_ex((way.destination, 80)) in (0, 115)  # EINPROGRESS
            assert select.select([], [one], [], 3)[1]
            assert one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
            one.setblocking(True)
            peer = list(one.getpeername()[:2])
            own = list(one.getsockname()[:2])
            assert one.recv(1, socket.MSG_PEEK)
            told = json.loads(one.recv(4096))
            return told | {"client_peer": peer, "client_own": own}

    check(way, on.run(connect))


def test_tcp_fast_open_without_connect_is_captured(on, way: Way) -> None:
    def open_fast() -> tuple[list[Any], bytes]:
        with socket.socket(way.family) as one:  # blocking: else EINPROGRESS without a cookie
            one.sendto(b"early\n", socket.MSG_FASTOPEN, (way.destination, 80))
            peer = list(one.getpeername()[:2])
            got = b""
            while b"early" not in got:
                got += one.recv(4096)
            return peer, got

    peer, got = on.run(open_fast)
    assert peer == [way.destination, 80]
    assert b'"15001:' in got
    assert f'"{way.plain}", 80'.encode() in got


def test_one_source_port_reaches_two_services(on, way: Way) -> None:
    def both() -> list[list[Any]]:
        found = []
        with socket.socket(way.family) as one, socket.socket(way.family) as two:
            for each, destination in ((one, way.destination), (two, way.other)):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                each.settimeout(3)
                each.bind((way.source, 23456))
                each.connect((destination, 80))
                told = json.loads(each.recv(4096))
                found.append([way.told(told)[0], each.getpeername()[0], each.getsockname()[1]])
        return found

    expected = [[d.removeprefix("::ffff:"), d, 23456] for d in (way.destination, way.other)]
    assert on.run(both) == expected


def test_a_socket_may_disconnect_and_go_elsewhere(on, way: Way) -> None:
    libc = ctypes.CDLL(None, use_errno=True)

    def thrice() -> list[str]:
        """A service, another service, then a place that is not captured."""
        found = []
        with socket.socket(way.family) as one:
            one.settimeout(3)
            for destination in (way.destination, way.other):
                one.connect((destination, 80))
                assert one.recv(4096)
                found.append(one.getpeername()[0])
                nothing = struct.pack("=H26x", socket.AF_UNSPEC)
                assert libc.connect(one.fileno(), nothing, 28) == 0
            one.connect((way.loopback, 15001))
            found.append(one.getpeername()[0])
        return found

    assert on.run(thrice) == [way.destination, way.other, way.loopback]


def test_duplicates_and_children_see_the_same_peer(on, way: Way) -> None:
    def inherit() -> list[str]:
        with socket.socket(way.family) as one:
            one.settimeout(3)
            one.connect((way.destination, 80))
            reading, writing = os.pipe()
            if os.fork() == 0:
                with one.dup() as copy:
                    os.write(writing, copy.getpeername()[0].encode())
                os._exit(0)
            os.wait()
            with one.dup() as copy:
                return [os.read(reading, 100).decode(), copy.getpeername()[0]]

    assert on.run(inherit) == [way.destination] * 2


def test_udp_is_left_alone(on) -> None:
    def peer() -> Any:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.connect(("10.96.0.7", 80))
            return one.getpeername(), one.getsockname()[0]

    assert on.run(peer) == (("10.96.0.7", 80), VM4)
    assert on.counted() == {}


def test_bytes_flow_both_ways(on, way: Way) -> None:
    def echo() -> bool:
        with socket.create_connection((way.plain, 80), 3) as one:
            assert one.recv(4096).endswith(b"\n")
            sent = os.urandom(1 << 20)
            got = b""
            for at in range(0, len(sent), 1 << 15):
                one.sendall(sent[at : at + (1 << 15)])
                while len(got) < at + (1 << 15):
                    got += one.recv(65536)
            return got == sent

    assert on.run(echo)


def test_no_sidecar_means_refused_at_once(steered, way: Way) -> None:
    steered.attach()

    def connect() -> float:
        began = time.perf_counter()
        with socket.socket(way.family) as one:
            one.settimeout(3)
            with pytest.raises(ConnectionRefusedError):
                one.connect((way.destination, 80))
        return time.perf_counter() - began

    assert min(steered.run(connect) for _ in range(3)) < 0.005
    assert steered.counted() == {"outbound": 3, "refused": 3}


def test_a_sidecar_that_comes_back_is_found_at_once(on, client, way: Way) -> None:
    on.kill(on.standins[0])
    with pytest.raises(ConnectionRefusedError):
        on.run(client, way.destination, 80, family=way.family)
    on.sidecar()
    check(way, on.run(client, way.destination, 80, family=way.family))
