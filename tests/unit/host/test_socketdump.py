"""Sockets as the kernel tells them; those that this test opens itself are the oracle."""

from __future__ import annotations

import os
import socket

import pytest

from interceptor.host import socketdiag, socketdump
from interceptor.host.socketdump import CLOSE, ESTABLISHED, LISTEN, Entry


def found(port: int, *states: int) -> list[Entry]:
    """The sockets with that local port."""
    return [entry for entry in socketdump.observe(*states) if entry.local[1] == port]


def inode(one: socket.socket) -> int:
    return os.fstat(one.fileno()).st_ino


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0"])
def test_a_listener_is_told_with_where_it_listens(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        (entry,) = found(server.getsockname()[1], LISTEN)
        assert (entry.protocol, entry.local[0], entry.remote[1]) == ("tcp", host, 0)
        assert (entry.socket.inode, entry.socket.uid) == (inode(server), os.getuid())
        assert (entry.is_waiting, entry.device) == (True, 0)
        assert entry.socket.cgroup > 0
        assert found(server.getsockname()[1], ESTABLISHED) == []


def test_a_connection_is_told_with_both_its_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as client, server.accept()[0] as peer:
            (entry,) = found(client.getsockname()[1], ESTABLISHED)
            assert (entry.local, entry.remote) == (client.getsockname(), client.getpeername())
            assert entry.socket.inode == inode(client)
            assert not entry.is_waiting
            (other,) = found(peer.getsockname()[1], ESTABLISHED)
            assert other.remote == client.getsockname()


def test_one_connection_is_asked_for_by_its_ends() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
        socketdiag.open_channel() as channel,
    ):
        ends = client.getsockname(), client.getpeername()
        entry = socketdump.find(channel, "tcp", *ends)
        assert entry is not None
        assert (entry.local, entry.remote, entry.socket.inode) == (*ends, inode(client))
        assert socketdump.find(channel, "tcp", ("127.0.0.9", 1), ("127.0.0.9", 2)) is None


def test_an_ipv4_client_of_an_ipv6_listener_is_written_as_ipv4() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), server.accept()[0]:
            ends = {entry.local[0] for entry in found(port, ESTABLISHED)}
            assert ends == {"127.0.0.1"}


def test_udp_is_told_bound_and_connected() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
        (entry,) = found(port, CLOSE)
        assert (entry.protocol, entry.is_waiting) == ("udp", True)
        one.connect(("127.0.0.1", 9))
        (entry,) = found(port, ESTABLISHED)
        assert entry.remote == ("127.0.0.1", 9)


@pytest.mark.root
def test_the_device_that_a_socket_is_bound_to_is_told() -> None:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
        one.bind(("127.0.0.1", 0))
        one.listen()
        (entry,) = found(one.getsockname()[1], LISTEN)
        assert entry.device == socket.if_nametoindex("lo")


def test_many_sockets_come_in_several_messages() -> None:
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(400)]
    try:
        ports = {entry.local[1] for entry in socketdump.observe(LISTEN)}
        assert {server.getsockname()[1] for server in servers} <= ports
    finally:
        for server in servers:
            server.close()
