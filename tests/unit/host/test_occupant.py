"""Who has which port."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from interceptor.host import occupant


def find(port: int, protocol: str) -> list[occupant.Occupant]:
    return [each for each in occupant.observe() if (each.port, each.protocol) == (port, protocol)]


def test_a_listener_and_a_bound_socket_are_found_with_their_process() -> None:
    comm = Path("/proc/self/comm").read_text().strip()
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
    ):
        udp.bind(("127.0.0.1", 0))
        for one, protocol in ((tcp, "tcp"), (udp, "udp")):
            (seen,) = find(one.getsockname()[1], protocol)
            assert (seen.address, seen.uid) == ("127.0.0.1", os.geteuid())
            assert (seen.pid, seen.comm) == (os.getpid(), comm)


def test_a_connection_is_no_listener_and_is_found_by_its_far_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as one:
            assert not find(one.getsockname()[1], "tcp")
            (seen,) = occupant.observe_connected(port)
            assert (seen.address, seen.port, seen.pid) == ("127.0.0.1", port, os.getpid())
        assert not occupant.observe_connected(1)
