"""Packets as the kernel shows them, in a network namespace of its own."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable, Iterator

import pytest

from interceptor.errors import Unsupported
from interceptor.host import sieve
from interceptor.host.sniffer import Packet, Sniffer, Way
from tests.conftest import Namespace

pytestmark = pytest.mark.root

HTTP = b"GET / HTTP/1.1\r\n\r\n"


@pytest.fixture(scope="module")
def place(namespaces: Callable[[str], Namespace]) -> Namespace:
    found = namespaces("packets")
    found.sh("ip link add near type veth peer name far; ip link set near up; ip link set far up")
    found.sh("ip address add 192.0.2.1/24 dev near")
    found.sh("ip neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev near")
    return found


@pytest.fixture
def opened(place: Namespace) -> Iterator[Sniffer]:
    one = place.call(Sniffer, sieve.encode(sieve.build()))
    yield one
    one.close()


def waiting(one: Sniffer, limit_s: float = 0.3) -> list[Packet]:
    """Everything that comes until nothing does."""
    found: list[Packet] = []
    while select.select([one], [], [], limit_s)[0]:
        while (packet := one.recv()) is not None:
            found.append(packet)
    return found


def exchange(data: bytes) -> int:
    """A connection over lo with some data; its server's port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client, server.accept()[0] as peer:
            client.sendall(data)
            peer.recv(len(data))
        return port


def test_a_connection_over_lo_is_seen_once_with_its_first_words(
    place: Namespace, opened: Sniffer
) -> None:
    place.call(exchange, HTTP)
    packets = waiting(opened)
    assert [(packet.device, packet.way) for packet in packets] == [("lo", Way.IN)] * 3
    assert packets[2].data.endswith(HTTP)


def test_bulk_data_is_not_given(place: Namespace, opened: Sniffer) -> None:
    place.call(exchange, bytes(500_000))
    assert len(waiting(opened)) == 2, "more than the two SYNs"


def test_what_leaves_is_told_from_what_comes(place: Namespace, opened: Sniffer) -> None:
    def knock() -> None:
        with socket.socket() as one:
            one.setblocking(False)
            one.connect_ex(("192.0.2.2", 80))

    place.call(knock)
    seen = {(packet.device, packet.way) for packet in waiting(opened)}
    assert ("near", Way.OUT) in seen
    # The other end of the cable: not addressed to it.
    assert seen - {("near", Way.OUT)} <= {("far", Way.PAST)}


def test_the_filter_can_be_exchanged_while_it_is_open(place: Namespace, opened: Sniffer) -> None:
    opened.filter(sieve.encode([sieve.Op(sieve.RETURN, 0)]))
    place.call(exchange, HTTP)
    assert waiting(opened) == []


def test_what_found_no_room_is_counted(place: Namespace, opened: Sniffer) -> None:
    assert opened.lost() == 0
    raw = socket.socket(fileno=os.dup(opened.fileno()))
    with raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    for _ in range(40):
        place.call(exchange, HTTP)
    packets = waiting(opened)
    # On lo each of the 120 is there twice, and one of the two is not given.
    lost = opened.lost()
    assert 120 < lost <= 240 - len(packets)
    assert opened.lost() == lost, "asking again forgets nothing"


def test_without_the_right_to_see_packets_it_says_what_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*_: object) -> socket.socket:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("interceptor.host.sniffer.socket.socket", refused)
    with pytest.raises(Unsupported, match="CAP_NET_RAW"):
        Sniffer(b"")
