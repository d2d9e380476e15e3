"""Blocks of pcapng, byte for byte as the format's description has them."""

from __future__ import annotations

import io

from interceptor.debug import pcapread, pcapwrite
from interceptor.debug.pcaprecord import ETHERNET, Direction, Record


def test_a_section_tells_who_wrote_it() -> None:
    data = pcapwrite.encode_section("us 1", "Linux")
    assert data.hex(" ", 4) == (
        "0a0d0d0a 34000000 4d3c2b1a 01000000 ffffffff ffffffff"
        " 03000500 4c696e75 78000000 04000400 75732031 00000000 34000000"
    )


def test_an_interface_counts_time_in_nanoseconds() -> None:
    data = pcapwrite.encode_interface(pcapwrite.Interface("lo", ETHERNET, "", 96, "udp"))
    assert data.hex(" ", 4) == (
        "01000000 30000000 01000000 60000000 02000200 6c6f0000"
        " 09000100 09000000 0b000400 00756470 00000000 30000000"
    )


def test_a_packet_has_its_comment_and_direction_behind_it() -> None:
    record = Record(0x1_0000_0002, "lo", ETHERNET, b"12345", 77, "why", Direction.IN)
    assert pcapwrite.encode_packet(3, record).hex(" ", 4) == (
        "06000000 3c000000 03000000 01000000 02000000 05000000 4d000000"
        " 31323334 35000000 01000300 77687900 02000400 01000000 00000000 3c000000"
    )


def test_statistics_have_the_high_word_of_each_time_first() -> None:
    data = pcapwrite.encode_statistics(1, pcapwrite.Statistics(1, 1 << 32 | 2, 30, 4))
    assert data.hex(" ", 4) == (
        "05000000 4c000000 01000000 01000000 02000000"
        " 02000800 00000000 01000000 03000800 01000000 02000000"
        " 04000800 1e000000 00000000 05000800 04000000 00000000 00000000 4c000000"
    )


def test_a_comment_that_is_too_long_is_cut_between_letters() -> None:
    record = Record(1, "lo", ETHERNET, b"", 0, "→" * 40_000)
    data = pcapwrite.encode_section("us") + pcapwrite.encode_interface(
        pcapwrite.Interface("lo", ETHERNET)
    )
    (found,) = pcapread.decode(io.BytesIO(data + pcapwrite.encode_packet(0, record)), "x")
    assert found.comment == "→" * (0xFFFF // 3)
