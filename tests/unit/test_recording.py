"""The loop of a capture, over real sockets, without a mesh's links."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from interceptor.debug import pcap
from interceptor.debug.pcapfile import PcapFile, Ring
from interceptor.debug.pcaprecord import ETHERNET
from interceptor.debug.pcapwrite import Interface
from interceptor.debug.selection import Selection
from interceptor.debug.sighting import Hold, Sighting
from interceptor.debug.tcpview import Ports, TcpView
from interceptor.debug.viewpoint import Role
from interceptor.hearing import Listener
from interceptor.host.layout import Way as AliasWay
from interceptor.host.packetfilter import NOTHING
from interceptor.host.packetsocket import Packet, PacketSocket, Way
from interceptor.host.probe import Device, LinkLayer
from interceptor.recording import Bounds, Recording, render
from interceptor.tap import Tap
from tests.unit.debug.sighted import OWN, SERVER, VIP, answer, judgement, query, sight, tcp, udp

NAME = "reviews.bookinfo.svc.cluster.local"


class Given(PacketSocket):
    """A link on which just these packets pass."""

    def __init__(self, name: str, packets: list[Packet]) -> None:
        self.device = Device(name, 1, LinkLayer.ETHERNET)
        self.received, self.dropped = len(packets), 2
        self._packets = packets
        self._socket, self._other = socket.socketpair()
        self._other.send(b"x")
        assert NOTHING

    def recv(self) -> Packet | None:
        return self._packets.pop(0) if self._packets else None

    def count(self) -> None:
        pass

    def close(self) -> None:
        super().close()
        self._other.close()


def packet(sighting: Sighting, way: Way = Way.IN) -> Packet:
    return Packet(sighting.time_ns, way, sighting.data, sighting.length)


def seen() -> list[Packet]:
    """Other's name asked and answered, a mesh name answered, somebody's connection."""
    other, ours = query("www.example.com", 8), query(NAME)
    return [
        packet(sight(udp(4000, 53, other), OWN, SERVER), Way.OUT),
        packet(sight(udp(53, 4000, answer(other, "192.0.2.1")), SERVER, OWN)),
        packet(sight(udp(53, 4001, answer(ours, VIP)), SERVER, OWN)),
        packet(sight(tcp((OWN, 5000), ("192.0.2.1", 80)), OWN, "192.0.2.1"), Way.OUT),
    ]


def record(
    path: Path,
    wanted: Selection,
    *,
    everything: bool = False,
    bounds: Bounds | None = None,
) -> Recording:
    tap = Tap("eth0", Role.UPLINK, ETHERNET, "udp", Given("eth0", seen()))
    judge = judgement()
    file = PcapFile(path, (tap.interface,), Interface, dict, Ring())
    file.open()
    view = TcpView(
        judge, Ports({15001: AliasWay.OUTBOUND}), 1337, 1, lambda _: None, lambda _, __: None
    )
    running = Recording(
        [tap],
        judge,
        view,
        file,
        Listener(path.parent),
        wanted,
        everything,
        Hold(0.0),
    )
    running.run(bounds or Bounds(duration_s=0.2), lambda: False, lambda: None)
    running.close()
    tap.socket.close()
    return running


def names(path: Path) -> list[str]:
    return [found.interface for found in pcap.read(path)]


def test_dns_is_kept_and_others_connections_are_not(tmp_path: Path) -> None:
    file = tmp_path / "a.pcapng"
    running = record(file, Selection())
    assert names(file) == ["uplink eth0", "uplink eth0", "answered", "answered"]
    report = running.report()
    assert (report["packets"], report["dropped"], report["ended_by"]) == (4, 2, "duration")
    assert report["interfaces"] == {"answered": 2, "uplink eth0": 2}
    assert render(report).startswith("4 packets, ")


def test_everything_is_kept_where_that_is_wanted(tmp_path: Path) -> None:
    file = tmp_path / "a.pcapng"
    record(file, Selection(), everything=True)
    assert sorted(names(file)) == ["answered"] * 2 + ["uplink eth0"] * 3


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (Selection(names=("reviews.*",)), 2),
        (Selection(names=("www.example.com",)), 2),
        (Selection(services=("reviews.bookinfo",)), 2),
        (Selection(services=("ratings",)), 0),
    ],
)
def test_only_what_is_wanted_is_kept(tmp_path: Path, wanted: Selection, count: int) -> None:
    file = tmp_path / "a.pcapng"
    record(file, wanted)
    assert len(names(file)) == count


@pytest.mark.parametrize(
    ("bounds", "why", "packets"),
    [(Bounds(packets=3), "count", 3), (Bounds(size_bytes=600), "size", 3)],
)
def test_it_ends_by_itself_with_not_a_packet_more(
    tmp_path: Path, bounds: Bounds, why: str, packets: int
) -> None:
    file = tmp_path / "a.pcapng"
    running = record(file, Selection(), bounds=bounds)
    assert running.report()["ended_by"] == why
    assert len(names(file)) == packets
