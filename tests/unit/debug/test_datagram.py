"""Headers are read as scapy writes them, and nothing that is captured is an exception."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment
from scapy.layers.l2 import ARP, CookedLinux, CookedLinuxV2, Dot1Q, Ether, Loopback

from interceptor.debug import datagram
from interceptor.debug.datagram import Datagram, Skip

ETHERNET, RAW, NULL, SLL, SLL2 = 1, 101, 0, 113, 276
FOUR = IP(src="192.0.2.1", dst="198.51.100.2")
SIX = IPv6(src="2001:db8::1", dst="2001:db8::2")


def read(packet: Any, link: int = RAW) -> Datagram:
    found = datagram.parse(link, bytes(packet))
    assert isinstance(found, Datagram), found
    return found


@pytest.mark.parametrize("ip", [FOUR, SIX], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize(
    ("link", "wrap"),
    [
        (RAW, lambda ip: ip),
        (ETHERNET, lambda ip: Ether() / ip),
        (ETHERNET, lambda ip: Ether() / Dot1Q(vlan=7) / Dot1Q(vlan=8) / ip),
        (NULL, lambda ip: Loopback() / ip),
        (SLL, lambda ip: CookedLinux() / ip),
        (SLL2, lambda ip: CookedLinuxV2() / ip),
    ],
    ids=["raw", "ethernet", "two tags", "null", "cooked", "cooked 2"],
)
def test_the_ends_of_a_query_are_read_on_each_link(ip: Any, link: int, wrap: Any) -> None:
    found = read(wrap(ip / UDP(sport=4000, dport=53) / b"query"), link)
    assert (found.protocol, found.source_port, found.port) == (datagram.UDP, 4000, 53)
    assert (ip_address(found.source), ip_address(found.destination)) == (
        ip_address(ip.src),
        ip_address(ip.dst),
    )
    assert (found.payload, found.plain, found.cut) == (b"query", True, False)


def test_what_the_link_pads_is_no_part_of_the_packet() -> None:
    found = read(bytes(Ether() / FOUR / UDP(dport=53) / b"x") + bytes(17), ETHERNET)
    assert found.payload == b"x"
    assert found.packet == bytes(FOUR / UDP(dport=53) / b"x")


@pytest.mark.parametrize(
    ("flags", "opens"),
    [("S", True), ("SEC", True), ("SA", False), ("A", False), ("SF", False), ("SR", False)],
)
def test_a_connection_is_opened_by_syn_alone(flags: str, opens: bool) -> None:
    assert read(FOUR / TCP(flags=flags, seq=7)).opens is opens


def test_options_of_tcp_are_no_data() -> None:
    found = read(SIX / TCP(dport=53, seq=9, options=[("MSS", 1440), ("SAckOK", b"")]) / b"data")
    assert (found.payload, found.sequence) == (b"data", 9)


@pytest.mark.parametrize(
    "packet",
    [
        IP(src="192.0.2.1", dst="192.0.2.2", options=b"\1\1\1\1") / UDP(dport=53) / b"x",
        IP(src="192.0.2.1", dst="192.0.2.2", flags="MF") / UDP(dport=53) / b"x",
        SIX / IPv6ExtHdrDestOpt() / UDP(dport=53) / b"x",
        SIX / IPv6ExtHdrFragment(m=1) / UDP(dport=53) / b"x",
    ],
    ids=["options", "first fragment", "extension", "first fragment of IPv6"],
)
def test_headers_that_an_agent_leaves_alone_are_told(packet: Any) -> None:
    found = read(packet)
    assert (found.port, found.plain, found.payload) == (53, False, b"x")


@pytest.mark.parametrize(
    ("link", "data", "why"),
    [
        (ETHERNET, bytes(Ether() / ARP()), Skip.NOT_IP),
        (RAW, bytes(IP(frag=7) / UDP(dport=53)), Skip.FRAGMENT),
        (RAW, bytes(SIX / IPv6ExtHdrFragment(offset=7) / UDP(dport=53)), Skip.FRAGMENT),
        (RAW, bytes(FOUR / UDP(dport=53))[:24], Skip.CUT),
        (RAW, bytes(IP(proto=1) / b"12345678"), Skip.OTHER),
        (SLL, bytes(CookedLinux(pkttype=3) / FOUR / UDP()), Skip.ELSEWHERE),
        (147, b"anything", Skip.LINK),
        (ETHERNET, b"", Skip.NOT_IP),
    ],
)
def test_what_tells_nothing_is_told_by_a_word(link: int, data: bytes, why: Skip) -> None:
    assert datagram.parse(link, data) is why


def test_a_packet_of_which_the_capture_kept_less_is_cut() -> None:
    whole = bytes(FOUR / UDP(dport=53) / bytes(100))
    assert read(whole[:60]).cut
    assert not read(whole).cut


def test_the_kernel_s_word_for_outgoing_is_kept() -> None:
    assert read(CookedLinux(pkttype=4) / FOUR / UDP(), SLL).leaves
    assert not read(CookedLinux(pkttype=0) / FOUR / UDP(), SLL).leaves


@given(st.sampled_from((0, 1, 12, 101, 108, 113, 276, 9)), st.binary(max_size=120))
def test_nothing_is_raised_whatever_the_bytes(link: int, data: bytes) -> None:
    found = datagram.parse(link, data)
    assert isinstance(found, Skip) or found.packet in data


@given(st.binary(min_size=40, max_size=90), st.sampled_from((0x45, 0x60)))
def test_nothing_is_raised_by_half_a_header(data: bytes, first: int) -> None:
    datagram.parse(RAW, bytes((first,)) + data)
