"""Captures are read in every format that tcpdump writes."""

from __future__ import annotations

import io
import struct
import time
from pathlib import Path

import pytest
from scapy.utils import PcapWriter

from interceptor.debug import pcap, pcapwrite
from interceptor.debug.pcaprecord import ETHERNET, RAW, Damaged, Record
from interceptor.errors import InterceptorError


def classic(magic: int, order: str, *packets: bytes) -> bytes:
    head = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262144, RAW)
    return head + b"".join(
        struct.pack(order + "IIII", 1_700_000_000, 123_456, len(data), 99) + data
        for data in packets
    )


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "tick_ns"), [(0xA1B2C3D4, 1000), (0xA1B23C4D, 1)])
def test_classic_captures_are_read_in_either_order_and_resolution(
    tmp_path: Path, order: str, magic: int, tick_ns: int
) -> None:
    file = tmp_path / "a.pcap"
    file.write_bytes(classic(magic, order, b"one", b"two"))
    time_ns = 1_700_000_000_000_000_000 + 123_456 * tick_ns
    wanted = [Record(time_ns, "", RAW, data, 99) for data in (b"one", b"two")]
    assert list(pcap.read(file)) == wanted
    assert wanted[0].time_s == pytest.approx(time_ns / 1e9)


@pytest.mark.parametrize("nano", [False, True])
def test_what_scapy_writes_is_read(tmp_path: Path, nano: bool) -> None:
    with PcapWriter(str(tmp_path / "a"), linktype=ETHERNET, nano=nano) as writer:
        writer.write_header(None)
        writer.write_packet(bytes(60), sec=5, usec=7)
    (found,) = pcap.read(tmp_path / "a")
    assert found == Record(5_000_000_000 + 7 * (1 if nano else 1000), "", 1, bytes(60), 60)


def test_pcapng_is_known_by_its_first_bytes() -> None:
    data = pcapwrite.encode_section("interceptor 1")
    data += pcapwrite.encode_interface(pcapwrite.Interface("lo", ETHERNET))
    record = Record(1, "lo", ETHERNET, b"x", 1)
    assert list(pcap.decode(io.BytesIO(data + pcapwrite.encode_packet(0, record)), "x")) == [record]


WHOLE = classic(0xA1B2C3D4, "<", b"data")


@pytest.mark.parametrize(
    ("data", "offset", "what"),
    [
        (b"", 0, "missing"),
        (b"name,verdict\n", 0, "magic 6e616d65"),
        (b"\x1f\x8b\x08\x00", 0, "gunzip"),
        (WHOLE[:20], 20, "within its head"),
        (WHOLE[:4] + b"\x09" + WHOLE[5:], 4, "version 9.4"),
        (WHOLE[:30], 24, "packet's head"),
        (WHOLE[:-1], 24, "cut off after 3"),
        (WHOLE[:32] + b"\xff\xff\xff\xff" + WHOLE[36:], 32, "4294967295 bytes"),
    ],
)
def test_damage_is_told_with_its_place(data: bytes, offset: int, what: str) -> None:
    with pytest.raises(Damaged, match=what) as caught:
        list(pcap.decode(io.BytesIO(data), "x.pcap"))
    assert caught.value.offset == offset


def test_a_missing_file_says_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(InterceptorError, match="name a pcap or pcapng file"):
        list(pcap.read(tmp_path / "none"))


def test_a_hundred_thousand_packets_are_read_in_some_seconds() -> None:
    record = Record(1, "lo", ETHERNET, bytes(90), 90, "answered from mesh table: a → 240.240.0.1")
    data = pcapwrite.encode_section("interceptor 1")
    data += pcapwrite.encode_interface(pcapwrite.Interface("lo", ETHERNET))
    data += pcapwrite.encode_packet(0, record) * 100_000
    began = time.process_time()
    assert sum(1 for _ in pcap.decode(io.BytesIO(data), "x")) == 100_000
    assert time.process_time() - began < 10
