"""The kernel's table of TCP sockets, read."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv6Address, ip_address

import pytest

from interceptor.host import tcptable
from interceptor.host.tcptable import ESTABLISHED, LISTEN

HEAD = (
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout\n"
)


def written(packed: bytes) -> str:
    """An address as the kernel writes it."""
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    return "".join(f"{word:08X}" for word in words)


@pytest.mark.parametrize("address", ["127.96.0.7", "2001:db8::1:2", "::ffff:10.0.0.1", "::"])
def test_an_address_is_decoded_as_the_kernel_writes_it(address: str) -> None:
    packed = ip_address(address).packed
    assert tcptable.decode(f"{written(packed)}:0050") == packed


def test_a_row_tells_its_ends_its_state_and_its_inode() -> None:
    local = written(IPv6Address("::1").packed)
    line = f"   0: {local}:3A99 {'0' * 32}:0000 0A 0:0 00:0 0 1337 0 4711 1 0\n"
    (row,) = tcptable.parse(HEAD + line)
    assert (row.port, row.state, row.inode) == (15001, LISTEN, 4711)
    assert IPv6Address(tcptable.decode(row.local)) == IPv6Address("::1")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_listener_of_this_host_is_in_the_table(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        port = server.getsockname()[1]
        assert tcptable.has_sockets(port, LISTEN)
        assert not tcptable.has_sockets(port, ESTABLISHED)
    assert not tcptable.has_sockets(port, LISTEN)


def test_a_connections_owner_is_found_in_the_kernels_table() -> None:
    table = (
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
        "   0: 0100007F:3AAC 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0\n"
        "   1: 0100007F:9C40 0100007F:3AAC 01 00000000:00000000 00:00000000 00000000  1000\n"
    )
    server, client = ("127.0.0.1", 15020), ("127.0.0.1", 40000)
    assert tcptable.find_owner(table, client, server) == 1000
    assert tcptable.find_owner(table, ("127.0.0.1", 40001), server) is None
