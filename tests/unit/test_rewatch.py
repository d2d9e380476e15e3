"""A capture is observed as its VM was; scapy writes the captures."""

from __future__ import annotations

from pathlib import Path

import pytest
from scapy.layers.dns import DNS, DNSQR, DNSRR
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import CookedLinux, Ether
from scapy.packet import Packet, Raw
from scapy.utils import wrpcap

from interceptor import rewatch
from interceptor.debug.observed import Call, Visit
from interceptor.errors import ConfigError, InterceptorError

VM, PEER, SERVER = "10.0.0.5", "198.51.100.7", "10.0.0.53"


def answer(name: str, address: str) -> Packet:
    message = DNS(id=1, qr=1, qd=DNSQR(qname=name), an=DNSRR(rrname=name, rdata=address))
    return IP(src=SERVER, dst=VM) / UDP(sport=53, dport=4000) / message


def call(source: str, destination: str, port: int, data: bytes = b"") -> list[Packet]:
    there, back = IP(src=source, dst=destination), IP(src=destination, dst=source)
    return [
        there / TCP(sport=4000, dport=port, flags="S", seq=1),
        back / TCP(sport=port, dport=4000, flags="SA", seq=9, ack=2),
        there / TCP(sport=4000, dport=port, flags="PA", seq=2, ack=10) / Raw(data),
    ]


def conversation() -> list[Packet]:
    request = b"GET / HTTP/1.1\r\nHost: api.example\r\n\r\n"
    packets = [answer("api.example", PEER), *call(VM, PEER, 8080, request)]
    packets += call("10.0.0.99", VM, 3306)
    for number, packet in enumerate(packets):
        packet.time = 1000.0 + number
    return packets


def layered(packet: Packet) -> Packet:
    frame = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / packet
    frame.time = packet.time
    return frame


@pytest.mark.parametrize("own", [(), (VM,)], ids=["guessed", "told"])
def test_calls_names_and_visits_are_told(tmp_path: Path, own: tuple[str, ...]) -> None:
    path = tmp_path / "vm.pcap"
    wrpcap(str(path), [layered(packet) for packet in conversation()])
    found = rewatch.observe(path, own)
    assert found.calls == (Call(PEER, 8080, "tcp", "api.example", "dns", "http", 1, 1),)
    assert found.visits == (Visit(3306, "10.0.0.99", count=1, answered=1),)
    assert (found.addresses, found.live, found.seconds) == ((VM,), False, 6.0)


def test_another_machines_view_of_the_same_capture(tmp_path: Path) -> None:
    path = tmp_path / "vm.pcap"
    wrpcap(str(path), [layered(packet) for packet in conversation()])
    found = rewatch.observe(path, (PEER,))
    assert found.calls == ()
    assert [(visit.port, visit.peer) for visit in found.visits] == [(8080, VM)]


def test_what_the_capture_marks_as_sent_tells_whose_it_is(tmp_path: Path) -> None:
    """As tcpdump -i any does; the one that calls most is another here."""
    packets = [CookedLinux(pkttype=4, proto=0x0800) / packet for packet in call(VM, PEER, 80)[:1]]
    packets += [
        CookedLinux(pkttype=0, proto=0x0800) / packet
        for port in range(1000, 1009)
        for packet in call(PEER, VM, port)[:1]
    ]
    path = tmp_path / "any.pcap"
    wrpcap(str(path), packets)
    found = rewatch.observe(path, ())
    assert found.addresses == (VM,)
    assert len(found.visits) == 9


def test_a_capture_that_tells_no_address_asks_for_it(tmp_path: Path) -> None:
    path = tmp_path / "empty.pcap"
    wrpcap(str(path), [layered(conversation()[2])])
    with pytest.raises(ConfigError, match="--address"):
        rewatch.observe(path, ())
    with pytest.raises(ConfigError, match="read once"):
        rewatch.observe(Path("-"), ())


def test_a_file_that_is_no_capture_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    path.write_text("no capture")
    with pytest.raises(InterceptorError, match="tcpdump"):
        rewatch.observe(path, ())
