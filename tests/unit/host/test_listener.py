"""Listening sockets: the kernel's table read, and places. Registering: tests/netns/bpf/tcp."""

from __future__ import annotations

import os
import socket
from ipaddress import ip_address
from pathlib import Path

import pytest

from interceptor.host import listener
from interceptor.host.layout import Listener, Way
from interceptor.host.listener import Listening

TABLE = """  sl  local_address rem_address   st tx_queue ...
   0: 0100007F:3A99 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1337        0 4711 1
   1: 0100007F:3A99 0100007F:C001 01 00000000:00000000 00:00000000 00000000  1337        0 4712 1
"""
TABLE6 = """  sl  local_address                         remote_address                        st
   0: 00000000000000000000000001000000:3A9E 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 9
   1: 0000000000000000FFFF00000100007F:3A9E 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 8
"""


def test_only_listening_sockets_are_read() -> None:
    assert listener.parse(TABLE) == (Listening(4711, 15001, ip_address("127.0.0.1")),)


def test_ipv6_addresses_are_words_in_the_machines_byte_order() -> None:
    assert listener.parse(TABLE6) == (
        Listening(9, 15006, ip_address("::1")),
        Listening(8, 15006, ip_address("::ffff:127.0.0.1")),
    )


@pytest.mark.parametrize(
    ("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
def test_what_the_kernel_tells_of_a_socket_of_ours_is_read(family: int, address: str) -> None:
    name = "tcp6" if family == socket.AF_INET6 else "tcp"
    with socket.socket(family) as one:
        one.bind((address, 0))
        one.listen()
        expected = Listening(
            os.fstat(one.fileno()).st_ino, one.getsockname()[1], ip_address(address)
        )
        assert expected in listener.parse(Path(f"/proc/self/net/{name}").read_text())


@pytest.mark.parametrize(
    ("address", "v6only", "places"),
    [
        ("127.0.0.1", False, (Listener.INBOUND4,)),
        ("0.0.0.0", False, (Listener.INBOUND4,)),
        ("::1", False, (Listener.INBOUND6,)),
        ("::", True, (Listener.INBOUND6,)),
        ("::", False, (Listener.INBOUND6, Listener.INBOUND4)),
        ("::ffff:127.0.0.1", False, (Listener.INBOUND4,)),
    ],
)
def test_a_listener_has_a_place_for_each_family_that_it_serves(
    address: str, v6only: bool, places: tuple[Listener, ...]
) -> None:
    assert listener.choose(ip_address(address), Way.INBOUND, v6only=v6only) == places
