"""original: SO_ORIGINAL_DST, and every other option as the kernel has it."""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
from typing import Any

import pytest

from interceptor.host.layout import PolicyFlag

pytestmark = pytest.mark.root

SO_ORIGINAL_DST = 80
REDIRECT = """nft -f - <<'X'
table ip t { chain output { type nat hook output priority -100
  ip daddr 10.50.0.0/16 tcp dport 80 redirect to :15001
}
}
X
"""


def ask(child: socket.socket, level: int, size: int) -> bytes | int:
    """The option, or the errno."""
    try:
        return child.getsockopt(level, SO_ORIGINAL_DST, size)
    except OSError as error:
        return error.errno or 0


def accepted(destination: str, level: int, size: int) -> bytes | int:
    """Ask for it on a connection that this very process accepts as the sidecar."""
    family = socket.AF_INET6 if ":" in destination else socket.AF_INET
    with socket.socket(family) as listener, socket.socket(family) as one:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("::1" if ":" in destination else "127.0.0.1", 15001))
        listener.listen()
        one.settimeout(3)
        one.connect((destination, 80))
        with listener.accept()[0] as child:
            return ask(child, level, size)


@pytest.mark.parametrize("size", [16, 20, 128, 1024])
def test_the_answer_for_ipv4_has_sixteen_bytes(steered, size: int) -> None:
    steered.attach()
    raw = steered.run(accepted, "10.96.0.7", socket.SOL_IP, size, cgroup="agent")
    assert raw == struct.pack("=H", 2) + bytes([0, 80, 10, 96, 0, 7]) + bytes(8)


@pytest.mark.parametrize("size", [28, 128, 1024])
def test_the_answer_for_ipv6_has_twenty_eight_bytes(steered, size: int) -> None:
    steered.attach()
    raw = steered.run(accepted, "2001:2::7", socket.IPPROTO_IPV6, size, cgroup="agent")
    address = socket.inet_pton(socket.AF_INET6, "2001:2::7")
    assert raw == struct.pack("=H", 10) + bytes([0, 80, 0, 0, 0, 0]) + address + bytes(4)


@pytest.mark.parametrize(
    ("destination", "level", "size"),
    [("10.96.0.7", socket.SOL_IP, 15), ("2001:2::7", socket.IPPROTO_IPV6, 27)],
)
def test_a_buffer_that_is_too_small_is_an_error(steered, destination, level, size) -> None:
    steered.attach()
    refused = steered.run(accepted, destination, level, size, cgroup="agent")
    assert refused in (errno.EINVAL, errno.ENOENT, errno.ENOPROTOOPT)


def test_a_buffer_of_more_than_a_page_keeps_the_kernels_answer(steered) -> None:
    steered.attach()

    def large() -> tuple[int, int]:
        """Bytes given and state; Python's own getsockopt has room for 1024 bytes."""
        libc = ctypes.CDLL(None, use_errno=True)
        room, size = ctypes.create_string_buffer(8192), ctypes.c_uint(8192)
        with socket.socket() as one:
            asked = (socket.IPPROTO_TCP, socket.TCP_INFO, room, ctypes.byref(size))
            assert libc.getsockopt(one.fileno(), *asked) == 0, ctypes.get_errno()
        return size.value, room.raw[0]

    size, state = steered.run(large, cgroup="agent")
    assert 100 < size < 4096
    assert state == 7  # TCP_CLOSE


def test_other_options_are_the_kernels(steered) -> None:
    def options() -> list[Any]:
        with socket.socket() as one:
            found: list[Any] = [one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)]
            for level, name in ((1, 3), (1, 4), (6, 1), (0, 2), (1, 39)):
                found.append(one.getsockopt(level, name))
            for level, name in ((0, 81), (41, 79), (6, 80), (1, 80)):
                try:
                    found.append(one.getsockopt(level, name, 64))
                except OSError as error:
                    found.append(error.errno)
            return found

    before = steered.run(options, cgroup="agent")
    steered.attach()
    assert steered.run(options, cgroup="agent") == before


def test_udp_has_no_original_destination(steered) -> None:
    steered.attach()

    def asked() -> bytes | int:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.connect(("127.0.0.1", 9))
            return ask(one, socket.SOL_IP, 16)

    assert steered.run(asked, cgroup="agent") in (errno.ENOENT, errno.ENOPROTOOPT)


def test_an_answer_of_conntracks_is_kept(on, client) -> None:
    """Netfilter's REDIRECT beside us; and our own aliases while conntrack is at work."""
    on.vm.sh(REDIRECT)
    assert on.run(client, "10.50.0.9", 80)["ip"][:2] == ["10.50.0.9", 80]
    told = on.run(client, "10.96.0.7", 80)
    assert told["ip"][:2] == ["10.96.0.7", 80]
    assert told["client_peer"] == ["10.96.0.7", 80]


def test_a_listener_of_both_families_is_told_ipv4_destinations(steered, client) -> None:
    steered.attach()
    steered.sidecar("15001:dual:::")
    told = steered.run(client, "10.96.0.7", 80)
    assert told["ip"] == ["10.96.0.7", 80, 16]
    assert told["own"][0] == "::ffff:127.96.0.7"
    assert steered.run(client, "2001:2::7", 80)["ipv6"] == ["2001:2::7", 80, 28]


def test_a_direct_call_of_the_sidecars_port_has_none(on, client) -> None:
    """Else the sidecar would take itself for the destination."""
    on.policy(PolicyFlag.IPV4 | PolicyFlag.IPV6)
    told = on.run(client, "127.0.0.1", 15001)
    assert told["ip"] in ([errno.ENOENT], [errno.ENOPROTOOPT])
