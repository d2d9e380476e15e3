"""Rebuilt packets have the checksums that another program computes for them."""

from __future__ import annotations

import socket

from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from interceptor.debug import datagram, rebuild
from interceptor.debug.datagram import Datagram
from interceptor.debug.pcaprecord import RAW

ports = st.integers(1, 65535)
four = st.binary(min_size=4, max_size=4)
six = st.binary(min_size=16, max_size=16)
pairs = st.one_of(st.tuples(four, four, four, four), st.tuples(six, six, six, six))


def text(address: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


def fresh(data: bytes) -> bytes:
    """The packet as scapy writes it, checksums computed by scapy."""
    six = data[0] >> 4 == 6
    packet = (IPv6 if six else IP)(data)
    if not six:
        del packet[IP].chksum
    upper = TCP if TCP in packet else UDP
    del packet[upper].chksum
    return bytes(packet)


def same(one: bytes, other: bytes, place: int) -> bool:
    """0 and 65535 are the same sum; UDP never sends the first."""
    sums = {one[place : place + 2], other[place : place + 2]}
    rest = one[:place] + one[place + 2 :] == other[:place] + other[place + 2 :]
    return rest and (len(sums) == 1 or sums == {b"\0\0", b"\xff\xff"})


@given(pairs, ports, ports, st.binary(max_size=60))
def test_a_made_datagram_is_right(
    ends: tuple[bytes, bytes, bytes, bytes], source: int, port: int, payload: bytes
) -> None:
    made = rebuild.encode_datagram((ends[0], source), (ends[1], port), payload)
    at = 26 if len(ends[0]) == 4 else 46
    assert same(made, fresh(made), at)
    found = datagram.parse(RAW, made)
    assert isinstance(found, Datagram)
    assert (found.source, found.destination) == ends[:2]
    assert (found.source_port, found.port, found.payload) == (source, port, payload)


@given(pairs, ports, st.binary(max_size=60), st.booleans())
def test_a_packet_with_other_ends_is_otherwise_the_same(
    ends: tuple[bytes, bytes, bytes, bytes], port: int, payload: bytes, options: bool
) -> None:
    upper = TCP(sport=40000, dport=9080, seq=7, flags="PA", chksum=1, options=[("NOP", None)] * 4)
    head = (IP if len(ends[0]) == 4 else IPv6)(src=text(ends[0]), dst=text(ends[1]))
    if len(ends[0]) == 4 and options:
        head.options = b"\x94\x04\0\0"
    old = datagram.parse(RAW, bytes(head / upper / Raw(payload)))
    assert isinstance(old, Datagram)
    made = rebuild.readdress(old, (ends[2], port), (ends[3], 15001))
    at = len(made) - len(payload) - 24 + 16
    assert same(made, fresh(made), at)
    new = datagram.parse(RAW, made)
    assert isinstance(new, Datagram)
    assert (new.source, new.source_port) == (ends[2], port)
    assert (new.destination, new.port) == (ends[3], 15001)
    assert (new.sequence, new.flags, new.payload) == (old.sequence, old.flags, old.payload)


def test_a_packet_that_was_cut_off_keeps_its_checksum() -> None:
    whole = bytes(IP(src="10.0.0.1", dst="10.0.0.2") / TCP(chksum=0x1234) / Raw(bytes(50)))
    old = datagram.parse(RAW, whole[:60])
    assert isinstance(old, Datagram)
    ends = (bytes((10, 0, 0, 3)), 5), (bytes((10, 0, 0, 4)), 6)
    assert rebuild.readdress(old, *ends)[36:38] == b"\x12\x34"
