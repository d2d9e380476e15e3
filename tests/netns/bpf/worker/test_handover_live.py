"""What the kernel hands over, answered by the worker: every way in, every kind of socket."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Callable
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.utils import rdpcap

from interceptor.dns import entry
from interceptor.dns.plane import Plane
from interceptor.host import bpfmap, command
from interceptor.host.layout import SPECS, Map, State, ValueFlag

if TYPE_CHECKING:
    from tests.conftest import Namespace
    from tests.netns.bpf.conftest import Compiled
    from tests.netns.bpf.worker.conftest import World

pytestmark = pytest.mark.root

SERVER4, SERVER6, LINK_LOCAL = "10.99.0.1", "fd99::1", "fe80::1"
NS = "bookinfo.svc.cluster.local"


def wait(condition: Callable[[], bool], limit_s: float = 10) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


SERVERS = pytest.mark.parametrize(
    "server", [SERVER4, SERVER6, f"{LINK_LOCAL}%eth0", "127.0.0.53", "::1"]
)


@SERVERS
def test_what_takes_more_than_addresses_is_answered_by_the_worker(
    world: World, plane: Plane, server: str
) -> None:
    expanded = world.short("reviews.bookinfo.corp.test", server=server)
    assert expanded == [f"reviews.{NS}.", "10.0.0.1"]
    assert world.short("ext.bookinfo", server=server) == ["a.wild.test.", "240.240.0.9"]
    assert world.short("-x", "10.0.0.1", server=server) == [f"reviews.{NS}."]
    assert world.short("-x", "fd00::1", server=server) == [f"reviews.{NS}."]
    service = world.short("_http._tcp.reviews.bookinfo", "SRV", server=server)
    assert service == [f"0 100 9080 reviews.{NS}."]
    assert len(world.short("many.bookinfo", "+bufsize=4096", "+ignore", server=server)) == 100
    assert "status: NXDOMAIN" in world.dig("no.own.test", server=server)
    assert "BADVERS" in world.dig("reviews.bookinfo", "+edns=1", "+noednsneg", server=server)
    # ... and what does not, by the kernel.
    assert world.short("reviews.bookinfo", server=server) == ["10.0.0.1"]
    assert world.short("x.y.wild.test", server=server) == ["240.240.0.9"]


def test_both_planes_count_what_they_answer(world: World, plane: Plane) -> None:
    def count(plane_name: str, result: str) -> int:
        return plane.counters.queries.get((plane_name, result, "A"), 0)

    wait(lambda: plane.is_alive)
    before = [count(name, "answer") for name in ("ebpf", "handover")]
    events = plane.counters.events.get("handover", 0)
    world.short("reviews.bookinfo")
    world.short("reviews.bookinfo.corp.test")
    world.short("www.other.test")
    wait(lambda: count("ebpf", "answer") == before[0] + 1)
    wait(lambda: count("handover", "answer") == before[1] + 1)
    assert count("ebpf", "pass") > 0
    assert not any(result == "handover" for _, result, _ in plane.counters.queries)
    assert plane.counters.events["handover"] == events + 1


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_socket_bound_to_its_device_gets_the_answer(
    world: World, plane: Plane, family: socket.AddressFamily
) -> None:
    query = bytes.fromhex("471101000001000000000000")
    query += b"\7reviews\10bookinfo\4corp\4test\0" + bytes.fromhex("00010001")

    def ask() -> bytes:
        with socket.socket(family, socket.SOCK_DGRAM) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
            client.settimeout(2)
            client.connect((SERVER4 if family == socket.AF_INET else SERVER6, 53))
            client.send(query)
            return client.recv(2000)

    answer = world.vm.call(ask)
    assert answer[:2] == query[:2]
    assert answer[-4:] == ip_address("10.0.0.1").packed


def test_a_client_whose_address_is_another_link_s_gets_the_answer_too(
    world: World, plane: Plane
) -> None:
    world.vm.sh("ip link add other type veth peer name beyond; ip link set beyond up")
    world.vm.sh("ip address add 10.55.0.1/24 dev other; ip link set other up")
    world.server.sh("ip route add 10.55.0.0/24 via 10.99.0.2")
    try:
        answer = world.short("-b", "10.55.0.1", "reviews.bookinfo.corp.test")
        assert answer == [f"reviews.{NS}.", "10.0.0.1"]
    finally:
        world.vm.sh("ip link del other")
        world.server.sh("ip route del 10.55.0.0/24")


def ghost(world: World) -> None:
    """A name that the kernel takes for the worker's, and the worker has never heard of."""
    place = world.maps[Map.NAMES].lookup(bpfmap.index(world.state(State.VIEW)))
    assert place is not None
    spec = SPECS[Map.NAMES].inner
    assert spec is not None
    names = bpfmap.open_id(int.from_bytes(place, "little"), spec)
    key = entry.encode_key("ghost.test", 0)
    names.update(key, entry.encode_value(key, ValueFlag.HANDOVER))
    names.close()


@pytest.mark.parametrize("server", [SERVER4, SERVER6, f"{LINK_LOCAL}%eth0"])
def test_a_query_for_nobody_goes_on_to_its_server_byte_for_byte(
    world: World, plane: Plane, server: str
) -> None:
    ghost(world)
    file = world.folder / "ghost.pcap"
    argv = ["tcpdump", "-U", "-n", "-i", "eth0", "-w", str(file), "udp dst port 53"]
    dump = world.spawn(world.server, argv, stderr=subprocess.PIPE)
    assert dump.stderr is not None
    assert b"listening" in dump.stderr.readline()
    query = bytes.fromhex("471101000001000000000001") + b"\5gHoSt\4TEST\0"
    query += bytes.fromhex("00010001" + "000029100000008000000c000a00080102030405060708")

    def ask() -> tuple[bytes, int]:
        place = socket.getaddrinfo(server, 53, type=socket.SOCK_DGRAM)[0]
        with socket.socket(place[0], socket.SOCK_DGRAM) as client:
            client.settimeout(2)
            client.connect(place[4])
            client.send(query)
            return client.recv(2000), client.getsockname()[1]

    answer, port = world.vm.call(ask)
    assert ip_address("192.0.2.66").packed in answer
    wait(lambda: len(rdpcap(str(file))) > 0)
    dump.send_signal(signal.SIGINT)
    dump.wait(5)
    (seen,) = rdpcap(str(file))
    assert bytes(seen[UDP].payload) == query
    assert seen[UDP].sport == port
    network = seen[IP] if IP in seen else seen[IPv6]
    fresh = network.copy()
    del fresh[UDP].chksum
    assert type(network)(bytes(fresh))[UDP].chksum == seen[UDP].chksum
    wait(lambda: plane.counters.events.get("handover-returned", 0) == 1)


def test_a_container_s_queries_are_answered_or_go_on_to_their_server(
    world: World, plane: Plane, namespaces: Callable[[str], Namespace], compiled: Compiled
) -> None:
    box = namespaces("box")
    world.container(compiled, box)
    ghost(world)

    def ask(server: str, name: str) -> list[str]:
        argv = ["dig", f"@{server}", "+tries=1", "+time=2", "+short", name]
        return box.call(command.run, argv, check=False).stdout.splitlines()

    wait(lambda: ask(SERVER6, "www.other.test") == ["192.0.2.1"])
    for server in (SERVER4, SERVER6):
        assert ask(server, "reviews.bookinfo") == ["10.0.0.1"]
        assert ask(server, "reviews.bookinfo.corp.test") == [f"reviews.{NS}.", "10.0.0.1"]
        assert ask(server, "ghost.test") == ["192.0.2.66"]
    wait(lambda: plane.counters.queries.get(("bridge", "answer", "A"), 0) == 2)
