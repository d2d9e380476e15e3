"""Aliases: a slot is one destination's, and nobody but this host's own connections uses it."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

from interceptor.host import bpfmap
from interceptor.host.alias import Aliases
from interceptor.host.layout import ALIAS4_SLOTS, SPECS, Map, Network, network_key

pytestmark = pytest.mark.root


def slot(address: str) -> int:
    return int.from_bytes(socket.inet_aton(address), "big") & ALIAS4_SLOTS


def destinations(steered: Any) -> dict[int, str]:
    """The IPv4 alias map: slot to destination."""
    aliases = steered.kernel.maps[Map.ALIAS4]
    return {
        int.from_bytes(key, "little"): socket.inet_ntoa(aliases.lookup(key))
        for key in [*aliases.keys()]
    }


def test_an_alias_can_be_read(on, client) -> None:
    own = on.run(client, "10.96.0.7", 80)["own"]
    assert own == ["127.96.0.7", 80]
    assert destinations(on) == {slot("10.96.0.7"): "10.96.0.7"}


def test_a_destination_has_one_alias_for_all_its_connections(on, client) -> None:
    owns = {tuple(on.run(client, "10.96.0.7", port)["own"]) for port in (80, 80, 443)}
    assert owns == {("127.96.0.7", 80), ("127.96.0.7", 443)}
    assert len(destinations(on)) == 1


def test_destinations_with_equal_low_bits_have_different_aliases(on, client) -> None:
    """10.96/12 and 10.224/12 have all of their low 22 bits in common."""
    on.networks(Network.OUTBOUND, "10.224.0.0/12")
    twins = [f"10.{high}.0.{low}" for low in range(1, 30) for high in (96, 160, 224)]
    on.networks(Network.OUTBOUND, "10.160.0.0/12")

    def all_of_them() -> list[tuple[str, str]]:
        found = []
        for address in twins:
            told = client(address, 80)
            found.append((told["ip"][0], told["client_peer"][0]))
        return found

    assert on.run(all_of_them) == [(address, address) for address in twins]
    assert sorted(destinations(on).values()) == sorted(twins)


def test_the_slot_of_the_broadcast_address_is_never_given_out(on, client) -> None:
    address = "10.127.255.255"
    on.networks(Network.OUTBOUND, "10.127.255.255/32")
    assert slot(address) == ALIAS4_SLOTS
    assert on.run(client, address, 80)["ip"][0] == address
    assert ALIAS4_SLOTS not in destinations(on)


def test_threads_that_call_a_new_destination_at_once_agree_on_its_alias(on, client) -> None:
    def together() -> set[tuple[str, str]]:
        found: set[tuple[str, str]] = set()
        for round_ in range(20):
            barrier = threading.Barrier(8)

            def one(round_: int = round_, barrier: threading.Barrier = barrier) -> None:
                barrier.wait()
                told = client(f"10.96.7.{round_}", 80)
                found.add((told["ip"][0], told["own"][0]))

            threads = [threading.Thread(target=one) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        return found

    assert on.run(together) == {(f"10.96.7.{n}", f"127.96.7.{n}") for n in range(20)}


@pytest.fixture
def small(kernel) -> None:
    """Alias maps of four slots."""
    for number in (Map.ALIAS4, Map.ALIAS6):
        kernel.maps[number].close()
        kernel.maps[number] = bpfmap.create(replace(SPECS[number], max_entries=4))


@pytest.mark.parametrize("net", ["10.96.9.{}", "2001:2::9:{}", "::ffff:10.96.9.{}"])
def test_when_the_aliases_are_used_up_new_destinations_are_refused(small, on, client, net) -> None:
    addresses = [net.format(n) for n in range(1, 30)]
    refused = []
    for address in addresses:
        try:
            assert on.run(client, address, 80)["client_peer"][0] == address
        except ConnectionRefusedError:
            refused.append(address)
    assert refused
    assert on.counted()["full"] == on.counted()["refused"] == len(refused)
    assert on.run(client, addresses[0], 80)["client_peer"][0] == addresses[0]


def listen_everywhere(family: socket.AddressFamily, port: int) -> socket.socket:
    one = socket.socket(family)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    one.bind(("", port))
    one.listen()
    one.setblocking(False)
    return one


@pytest.mark.parametrize("destination", ["10.96.0.7", "2001:2::7"])
def test_a_wildcard_listener_of_somebody_else_gets_nothing(on, client, destination) -> None:
    """With the sidecar there, and without it."""
    family = socket.AF_INET6 if ":" in destination else socket.AF_INET
    with on.vm.call(listen_everywhere, family, 80) as other:
        assert on.run(client, destination, 80)["place"].startswith("15001")
        on.kill(on.standins[0])
        with pytest.raises(ConnectionRefusedError):
            on.run(client, destination, 80)
        with pytest.raises(BlockingIOError):
            other.accept()


def test_another_host_cannot_reach_the_sidecar_by_an_alias(on, client) -> None:
    own = on.run(client, "2001:2::7", 80)["own"][0]
    on.peer.sh("ip -6 route add fdc8:3d1f:62a7::/48 via fd10::2")

    def dial() -> str:
        with socket.socket(socket.AF_INET6) as one:
            one.settimeout(1)
            try:
                one.connect((own, 80))
            except (ConnectionRefusedError, TimeoutError):
                return "kept out"
            return "reached it"

    before = on.counted()["outbound"]
    assert on.peer.call(dial) == "kept out"
    assert on.counted()["refused"] == 1
    assert on.counted()["outbound"] == before


def test_an_alias_that_nobody_made_is_refused(on, client) -> None:
    with pytest.raises(ConnectionRefusedError):
        on.run(client, "127.96.0.99", 80)
    with pytest.raises(ConnectionRefusedError):
        on.run(client, "fdc8:3d1f:62a7:1::99", 80)


def test_ten_thousand_networks_are_told_apart(on, client) -> None:
    networks = on.kernel.maps[Map.NETWORKS]
    keys = [
        network_key(Network.OUTBOUND, 0, ip_network((0xAC100000 + 16 * n, 29)))
        for n in range(10_000)
    ]
    networks.update_batch(keys, [b"\1"] * len(keys))
    on.peer.sh("ip route add local 172.16.0.0/12 dev lo")
    assert on.run(client, "172.17.3.21", 80)["ip"][0] == "172.17.3.21"
    with pytest.raises(ConnectionRefusedError):
        on.run(client, "172.17.3.29", 80)


def test_five_thousand_connections_over_two_thousand_ports(on) -> None:
    on.vm.sh("sysctl -qw net.ipv4.ip_local_port_range='20000 21999'")
    services = ("10.96.0.1", "10.96.0.2", "10.96.0.3")

    def hold() -> tuple[int, int]:
        with contextlib.ExitStack() as stack:
            found = set()
            for n in range(5000):
                one = stack.enter_context(socket.socket())
                one.settimeout(5)
                one.connect((services[n % 3], 80))
                found.add((one.getsockname()[1], one.getpeername()[0]))
                assert one.recv(4096)
            return len(found), len({port for port, _ in found})

    connections, ports = on.run(hold)
    assert connections == 5000
    assert ports <= 2000


@pytest.mark.parametrize("net", ["10.96.9.{}", "2001:2::9:{}"])
def test_aliases_without_a_connection_are_given_back_when_half_are_taken(
    small, on, client, net
) -> None:
    aliases = Aliases(on.kernel.maps[Map.ALIAS4], on.kernel.maps[Map.ALIAS6])

    def hold(orders: socket.socket) -> str:
        with socket.create_connection((net.format(1), 80), 3) as one:
            assert one.recv(4096)
            orders.send(b"r")
            assert orders.recv(1)
            return str(one.getpeername()[0])

    ours, theirs = socket.socketpair()
    child = on.start(lambda: hold(theirs))
    assert ours.recv(1)
    assert on.vm.call(aliases.sweep) == 0  # one of four is no reason
    for last in (2, 3):
        with contextlib.suppress(ConnectionRefusedError):
            on.run(reset, net.format(last))
    assert [on.vm.call(aliases.sweep) for _ in range(2)] == [0, 2]
    assert on.run(client, net.format(4), 80)["client_peer"][0] == net.format(4)
    ours.send(b"e")
    assert child.result() == net.format(1)
    ours.close()
    theirs.close()


def reset(destination: str) -> None:
    """A connection that leaves nothing behind, not even TIME_WAIT."""
    with socket.create_connection((destination, 80), 3) as one:
        assert one.recv(4096)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
