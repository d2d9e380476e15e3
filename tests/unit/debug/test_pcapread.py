"""pcapng is read as other programs write it, and damage is told with its place."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.utils import PcapNgReader, PcapNgWriter

from interceptor.debug import pcapread, pcapwrite
from interceptor.debug.pcaprecord import ETHERNET, Damaged, Direction, Record

TIME_NS = 1_700_000_000_123_456_789


def decode(data: bytes) -> list[Record]:
    return list(pcapread.decode(io.BytesIO(data), "x.pcapng"))


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    size = len(body) + 12
    return struct.pack(order + "II", kind, size) + body + struct.pack(order + "I", size)


def section(order: str = "<") -> bytes:
    body = struct.pack(order + "IHHq", pcapread.ORDER_MAGIC, 1, 0, -1)
    return block(pcapread.SECTION, body, order)


def interface(options: bytes = b"", order: str = "<", link: int = 1, snaplen: int = 0) -> bytes:
    return block(1, struct.pack(order + "HHI", link, 0, snaplen) + options, order)


def packet(index: int, ticks: int, data: bytes, order: str = "<") -> bytes:
    words = struct.pack(order + "IIIII", index, ticks >> 32, ticks & 0xFFFFFFFF, len(data), 99)
    return block(6, words + data + bytes(-len(data) % 4), order)


GOOD = section() + interface() + packet(0, 7, b"data")

records = st.builds(
    Record,
    time_ns=st.integers(0, 2**63),
    interface=st.just("uplink eth0"),
    link=st.just(ETHERNET),
    data=st.binary(max_size=70),
    length=st.integers(0, 2**32 - 1),
    comment=st.text(st.characters(codec="utf-8"), max_size=300),
    direction=st.sampled_from(Direction),
)


@given(st.lists(records, max_size=5))
def test_what_is_written_is_read_again(wanted: list[Record]) -> None:
    data = pcapwrite.encode_section("interceptor 1")
    data += pcapwrite.encode_interface(pcapwrite.Interface("uplink eth0", ETHERNET, "text"))
    data += b"".join(pcapwrite.encode_packet(0, record) for record in wanted)
    data += pcapwrite.encode_statistics(0, pcapwrite.Statistics(1, 2, 3, 4))
    assert decode(data) == wanted


@pytest.mark.parametrize("order", ["<", ">"])
def test_either_byte_order_gives_the_same(order: str) -> None:
    found = decode(section(order) + interface(b"", order) + packet(0, 2_000_001, b"data", order))
    assert found == [Record(2_000_001_000, "", 1, b"data", 99)]


@pytest.mark.parametrize(
    ("resolution", "ticks", "time_ns"),
    [(9, TIME_NS, TIME_NS), (3, 1500, 1_500_000_000), (0x80 | 10, 1536, 1_500_000_000)],
)
def test_time_is_told_in_the_interface_s_own_ticks(
    resolution: int, ticks: int, time_ns: int
) -> None:
    option = struct.pack("<HHB3x", pcapread.RESOLUTION, 1, resolution)
    assert decode(section() + interface(option) + packet(0, ticks, b""))[0].time_ns == time_ns


def test_an_interface_s_time_may_be_shifted() -> None:
    option = struct.pack("<HHq", pcapread.TIME_OFFSET, 8, 100)
    assert decode(section() + interface(option) + packet(0, 5, b""))[0].time_ns == 100_000_005_000


def test_a_new_section_forgets_the_interfaces_of_the_one_before() -> None:
    name = struct.pack("<HH4s", pcapread.INTERFACE_NAME, 4, b"eth0")
    other = struct.pack(">HH4s", pcapread.INTERFACE_NAME, 3, b"lo")
    data = section() + interface(name) + packet(0, 1, b"a")
    data += section(">") + interface(other, ">", link=101) + packet(0, 1, b"b", ">")
    assert [(found.interface, found.link) for found in decode(data)] == [("eth0", 1), ("lo\0", 101)]


def test_unknown_blocks_and_options_are_passed_over() -> None:
    option = struct.pack("<HHI", 0x7FFF, 4, 1)
    data = section() + block(0x0BAD, b"1234") + interface(option) + packet(0, 1, b"x")
    assert [found.data for found in decode(data)] == [b"x"]


def test_simple_packets_are_cut_at_the_interface_s_length() -> None:
    simple = block(3, struct.pack("<I", 50) + b"12345678")
    found = decode(section() + interface(snaplen=8) + simple)
    assert found == [Record(0, "", 1, b"12345678", 50)]


def test_the_obsolete_packet_block_is_read() -> None:
    old = block(2, struct.pack("<HHIIII", 0, 0, 0, 5, 4, 60) + b"data")
    assert decode(section() + interface() + old) == [Record(5000, "", 1, b"data", 60)]


@pytest.mark.parametrize(
    ("data", "offset", "what"),
    [
        (GOOD[:-2], 48, "cut off"),
        (GOOD[: 48 + 5], 48, "block's head"),
        (GOOD[:-4] + struct.pack("<I", 40), 48 + 32, "in front and 40 behind"),
        (GOOD[:8] + b"\0\0\0\0" + GOOD[12:], 8, "magic 00000000"),
        (GOOD[:12] + b"\2\0" + GOOD[14:], 12, "version 2"),
        (section() + block(6, bytes(20)), 28 + 8, "interface 0"),
        (section() + interface() + block(6, bytes(12)), 48, "short packet block"),
        (section() + struct.pack("<II", 1, 13), 28 + 4, "13 bytes"),
        (section() + struct.pack("<II", 1, 0xFFFFFFF0), 28 + 4, "4294967280 bytes"),
        (section() + interface(struct.pack("<HHI", 2, 400, 0)), 28 + 16, "400 bytes does not fit"),
        (section() + interface() + block(6, bytes(12) + b"\xff\0\0\0" + bytes(4)), 68, "255"),
    ],
)
def test_damage_is_told_with_its_place(data: bytes, offset: int, what: str) -> None:
    with pytest.raises(Damaged, match=what) as caught:
        decode(data)
    assert caught.value.offset == offset
    assert "x.pcapng" in str(caught.value)
    assert "legal" in str(caught.value)


def test_packets_before_the_damage_are_given() -> None:
    reading = pcapread.decode(io.BytesIO(GOOD + GOOD[48:-1]), "x.pcapng")
    assert next(reading).data == b"data"
    with pytest.raises(Damaged):
        next(reading)


@given(st.binary(max_size=200), st.integers(0, len(GOOD)))
def test_no_bytes_make_it_fail_otherwise(noise: bytes, at: int) -> None:
    try:
        decode(GOOD[:at] + noise + GOOD[at + len(noise) :])
    except Damaged:
        pass


def test_what_scapy_writes_is_read(tmp_path: Path) -> None:
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Ether

    frame = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    frame = frame / IP(src="10.0.0.1", dst="10.0.0.2") / UDP()
    frame.time, frame.sniffed_on, frame.comments = 1.5, "eth7", [b"said"]
    with PcapNgWriter(str(tmp_path / "a")) as writer:
        writer.write(frame)
    (found,) = decode((tmp_path / "a").read_bytes())
    assert found == Record(1_500_000_000, "eth7", 1, bytes(frame), len(frame), "said")


def test_scapy_reads_what_is_written(tmp_path: Path) -> None:
    record = Record(TIME_NS, "lo", ETHERNET, bytes(60), 60, "ünïcode", Direction.OUT)
    data = pcapwrite.encode_section("interceptor 1")
    data += pcapwrite.encode_interface(pcapwrite.Interface("lo", ETHERNET))
    (tmp_path / "a").write_bytes(data + pcapwrite.encode_packet(0, record))
    with PcapNgReader(str(tmp_path / "a")) as reader:
        (frame,) = list(reader)
    assert (bytes(frame), frame.comments, frame.sniffed_on, frame.direction) == (
        bytes(60),
        ["ünïcode".encode()],
        "lo",
        2,
    )
    assert int(frame.time * 10**9) == TIME_NS
