"""Programs are exchanged, and taken away, under open connections."""

from __future__ import annotations

import os
import socket
import time
from typing import Any

import pytest

from interceptor.host import bpflink, bytecode
from interceptor.host.layout import Map, PolicyFlag

pytestmark = pytest.mark.root

SERVICES = ["10.96.0.7", "2001:2::7"]
STEERING = ("connect4", "connect6", "peername4", "peername6", "original", "listen", "lookup")


def anew(steered: Any, name: str) -> int:
    """The same program once more, over the same maps."""
    descriptors = {number: each.fd for number, each in steered.kernel.maps.items()}
    return bytecode.load(steered.kernel.compiled[name], descriptors)


class Held:
    """A connection held open by a process of the application's, which does as it is told."""

    def __init__(self, steered: Any, destination: str) -> None:
        self.ours, theirs = socket.socketpair()
        self.ours.settimeout(5)
        self.child = steered.start(lambda: self.body(destination, self.ours, theirs))
        theirs.close()
        assert self.ours.recv(1) == b"r"

    @staticmethod
    def body(destination: str, ours: socket.socket, orders: socket.socket) -> list[str]:
        ours.close()  # the child's copy, or it would never see the end
        peers = []
        with socket.create_connection((destination, 80), 3) as one:
            assert one.recv(4096)
            orders.send(b"r")
            while order := orders.recv(1):
                one.sendall(order)
                assert one.recv(1) == order
                peers.append(one.getpeername()[0])
                orders.send(b"r")
        return peers

    def work(self) -> None:
        self.ours.send(b"x")
        assert self.ours.recv(1) == b"r"

    def end(self) -> list[str]:
        """The peer's address as it was seen at each work."""
        self.ours.close()
        return list(self.child.result())


@pytest.mark.parametrize("destination", SERVICES)
def test_programs_are_exchanged_under_an_open_connection(on, client, destination: str) -> None:
    held = Held(on, destination)
    held.work()
    for name in STEERING:
        fresh = anew(on, name)
        bpflink.update(on.links[name], fresh)
        os.close(fresh)
        held.work()
    assert held.end() == [destination] * (1 + len(STEERING))
    assert on.run(client, destination, 80)["client_peer"][0] == destination


@pytest.mark.parametrize("destination", SERVICES)
def test_open_connections_go_on_without_the_programs(on, client, destination: str) -> None:
    """Connect first, so that nothing new meets the half of them."""
    held = Held(on, destination)
    held.work()
    for name in STEERING:
        on.detach(name)
        held.work()
    peers = held.end()
    assert peers[:3] == [destination] * 3
    with pytest.raises(ConnectionRefusedError):  # the peer, where nobody listens
        on.run(client, destination, 80)


@pytest.mark.parametrize("destination", SERVICES)
def test_a_connection_from_before_is_not_broken(steered, destination: str) -> None:
    family = socket.AF_INET6 if ":" in destination else socket.AF_INET

    def listen() -> socket.socket:
        one = socket.create_server(("", 80), family=family)
        one.settimeout(3)
        return one

    with steered.peer.call(listen) as listener:
        child = steered.start(lambda: before(destination))
        with listener.accept()[0] as far:
            steered.attach()
            steered.sidecar()
            far.sendall(b"go")
            assert far.recv(10) == b"still here"
    assert child.result() == destination


def before(destination: str) -> Any:
    with socket.create_connection((destination, 80), 3) as one:
        assert one.recv(2) == b"go"
        one.sendall(b"still here")
        return one.getpeername()[0]


def test_exchanges_under_load_lose_no_connection(on, client) -> None:
    def many() -> int:
        end = time.monotonic() + 2
        count = 0
        while time.monotonic() < end:
            assert client("10.96.0.7", 80)["client_peer"] == ["10.96.0.7", 80]
            count += 1
        return count

    child = on.start(many)
    for _ in range(20):
        for name in STEERING:
            fresh = anew(on, name)
            bpflink.update(on.links[name], fresh)
            os.close(fresh)
    assert child.result() > 50


def test_aliases_outlive_the_maps_of_a_layout(on, client) -> None:
    """New maps but the same alias maps: a connection made before is told apart after."""
    held = Held(on, "10.96.0.7")
    held.work()
    fresh = anew(on, "peername4")
    assert on.kernel.maps[Map.ALIAS4].lookup((0x200000 | 7).to_bytes(4, "little"))
    bpflink.update(on.links["peername4"], fresh)
    os.close(fresh)
    on.policy(PolicyFlag(0))
    held.work()
    assert held.end() == ["10.96.0.7"] * 2
