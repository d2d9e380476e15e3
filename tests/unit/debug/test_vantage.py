"""Whose a packet is follows from its addresses, and from where `interceptor capture` saw it."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.capture.plan import Hook
from interceptor.debug import vantage
from interceptor.debug.datagram import TCP, Datagram
from interceptor.debug.vantage import UPLINK, Place, Vantage

OWN = ("192.0.2.10", "2001:db8::10")
VM = Vantage(
    vantage.pack(map(ip_address, OWN)), frozenset({"br0"}), "", frozenset({15001, 15006, 15053})
)


def packet(source: str, destination: str, port: int = 80) -> Datagram:
    ends = ip_address(source).packed, ip_address(destination).packed
    return Datagram(*ends, TCP, 40000, port, b"", b"")


@pytest.mark.parametrize(
    ("source", "destination", "interface", "place"),
    [
        ("192.0.2.10", "198.51.100.1", "eth0", Place(Hook.OUTPUT, "eth0")),
        ("192.0.2.10", "198.51.100.1", "", Place(Hook.OUTPUT, UPLINK)),
        ("2001:db8::10", "2001:db8::99", "eth0", Place(Hook.OUTPUT, "eth0")),
        ("192.0.2.10", "192.0.2.10", "any", Place(Hook.OUTPUT, "lo")),
        ("127.0.0.1", "127.0.0.53", "any", Place(Hook.OUTPUT, "lo")),
        ("198.51.100.1", "192.0.2.10", "eth0", Place(Hook.PREROUTING, "eth0")),
        ("172.30.0.2", "198.51.100.1", "br0", Place(Hook.PREROUTING, "br0")),
        ("172.30.0.2", "192.0.2.10", "br0", Place(Hook.PREROUTING, "br0")),
        ("172.30.0.2", "198.51.100.1", "eth0", None),
        ("198.51.100.1", "198.51.100.2", "", None),
    ],
)
def test_a_packet_is_met_where_its_ends_say(
    source: str, destination: str, interface: str, place: Place | None
) -> None:
    assert VM.place(packet(source, destination), interface) == place


@pytest.mark.parametrize(
    ("source", "destination", "port"),
    [
        ("192.0.2.10", "127.0.0.1", 15001),
        ("::1", "::1", 15006),
        ("127.0.0.1", "127.64.0.7", 9080),
        ("192.0.2.10", "127.192.1.1", 53),
        ("::1", "fdc8:3d1f:62a7::7", 9080),
    ],
)
def test_the_hop_to_the_sidecar_is_no_attempt_of_its_own(
    source: str, destination: str, port: int
) -> None:
    place = VM.place(packet(source, destination, port), "lo")
    assert place is not None
    assert place.is_inner


def test_the_sidecar_s_ports_are_ordinary_ports_of_other_hosts_and_for_other_hosts() -> None:
    for one in (packet("192.0.2.10", "198.51.100.1", 15001), packet("198.51.100.1", OWN[0], 15001)):
        place = VM.place(one, "eth0")
        assert place is not None
        assert not place.is_inner


@pytest.mark.parametrize(
    ("interface", "place"),
    [
        ("uplink eth0", Place(Hook.OUTPUT, "eth0")),
        ("app", Place(Hook.OUTPUT, UPLINK)),
        ("to-sidecar", Place(Hook.OUTPUT, UPLINK, is_inner=True)),
        ("sidecar out", Place(Hook.OUTPUT, UPLINK, is_sidecars=True)),
    ],
)
def test_vantage_points_of_our_own_captures_are_understood(interface: str, place: Place) -> None:
    assert VM.place(packet("192.0.2.10", "198.51.100.1"), interface) == place


def test_a_hypervisor_s_name_for_the_link_can_be_mended() -> None:
    outside = Vantage(VM.own, interface="eth0")
    assert outside.place(packet("192.0.2.10", "198.51.100.1"), "vnet3") == Place(
        Hook.OUTPUT, "eth0"
    )


ADDRESSES = st.sampled_from((*OWN, "127.0.0.1", "::1", "198.51.100.1", "2001:db8::99"))


@given(ADDRESSES, ADDRESSES, st.sampled_from(("eth0", "lo", "", "uplink eth1")))
def test_what_leaves_has_a_source_of_ours_and_what_arrives_has_none(
    source: str, destination: str, interface: str
) -> None:
    place = VM.place(packet(source, destination), interface)
    ours = {*OWN, "127.0.0.1", "::1"}
    if place is None:
        assert source not in ours
        assert destination not in OWN
    else:
        assert (place.hook is Hook.OUTPUT) == (source in ours)
        assert source in ours or destination in OWN
