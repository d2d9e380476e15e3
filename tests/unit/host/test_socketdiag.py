"""The real kernel's word about sockets of this very process."""

import os
import socket
from pathlib import Path

import pytest

from interceptor.host import cgroup, probe, socketdiag

ADDRESSES = pytest.mark.parametrize("address", ["127.0.0.1", "::1"])


def family_of(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


@ADDRESSES
def test_a_connection_s_owner_is_told_by_its_ends(address: str) -> None:
    with socket.create_server((address, 0), family=family_of(address)) as server:
        with socket.create_connection(server.getsockname()[:2]) as client:
            ends = client.getsockname()[:2], client.getpeername()[:2]
            assert socketdiag.owner(*ends) == os.geteuid()
        other = (address, 1)
        assert socketdiag.owner(other, ends[1]) is None


@ADDRESSES
def test_the_two_ends_of_a_connection_are_two_sockets(address: str) -> None:
    with (
        socket.create_server((address, 0), family=family_of(address)) as server,
        socket.create_connection(server.getsockname()[:2]) as client,
    ):
        accepted = server.accept()[0]
        with accepted:
            ends = client.getsockname()[:2], client.getpeername()[:2]
            ours, theirs = socketdiag.find("tcp", *ends), socketdiag.find("tcp", *reversed(ends))
            assert ours is not None
            assert theirs is not None
            assert ours.inode == os.fstat(client.fileno()).st_ino
            assert theirs.inode == os.fstat(accepted.fileno()).st_ino
            assert ours.cookie != theirs.cookie != 0


@ADDRESSES
def test_without_a_remote_end_it_is_who_listens(address: str) -> None:
    with socket.create_server((address, 0), family=family_of(address)) as server:
        found = socketdiag.find("tcp", server.getsockname()[:2])
        assert found is not None
        assert found.inode == os.fstat(server.fileno()).st_ino
        assert found.state == socketdiag.LISTEN


@ADDRESSES
@pytest.mark.parametrize("connected", [True, False])
def test_a_datagram_socket_is_found_connected_or_not(address: str, connected: bool) -> None:
    with socket.socket(family_of(address), socket.SOCK_DGRAM) as one:
        one.bind((address, 0))
        if connected:
            one.connect((address, 53))
        found = socketdiag.find("udp", one.getsockname()[:2], (address, 53))
        assert found is not None
        assert (found.uid, found.inode) == (os.geteuid(), os.fstat(one.fileno()).st_ino)
        if connected:
            assert socketdiag.find("udp", one.getsockname()[:2], (address, 54)) is None


def test_an_ipv6_socket_that_speaks_ipv4_is_found_by_its_ipv4_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_INET6) as one:
        port = server.getsockname()[1]
        one.connect(("::ffff:127.0.0.1", port))
        found = socketdiag.find("tcp", ("127.0.0.1", one.getsockname()[1]), ("127.0.0.1", port))
        assert found is not None
        assert found.inode == os.fstat(one.fileno()).st_ino


def test_a_socket_s_cgroup_is_that_of_who_made_it() -> None:
    mount = probe.cgroup_mount()
    if not mount:
        pytest.fail("no cgroup2 on this host")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        found = socketdiag.find("udp", one.getsockname())
        assert found is not None
        assert found.cgroup == Path(mount, cgroup.of().strip("/")).stat().st_ino
