"""Files of a capture: whole, private, bounded, and read by other programs."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Mapping
from pathlib import Path

import pytest

from interceptor.debug import pcap, pcapread
from interceptor.debug.pcapfile import PcapFile, Ring
from interceptor.debug.pcaprecord import ETHERNET, RAW, Record
from interceptor.debug.pcapwrite import Interface
from interceptor.errors import InterceptorError
from interceptor.host import command

LINK = Interface("uplink eth0", ETHERNET, "a link", 0, "port 53")


def counts() -> Mapping[str, tuple[int, int]]:
    return {"uplink eth0": (100, 7)}


def make(path: Path, ring: Ring | None = None) -> PcapFile:
    made = PcapFile(path, (LINK,), Interface, counts, ring or Ring())
    made.open()
    return made


def record(number: int, interface: str = "app") -> Record:
    return Record(number, interface, RAW, bytes(40), 40, f"packet {number}")


def test_what_is_written_is_read_with_its_interfaces(tmp_path: Path) -> None:
    file = make(tmp_path / "a.pcapng")
    wanted = [record(1), record(2, "answered"), record(3)]
    for each in wanted:
        file.write(each)
    file.close()
    file.close()
    assert list(pcap.read(tmp_path / "a.pcapng")) == wanted
    assert file.packets == {"app": 2, "answered": 1}


def test_wireshark_s_tools_find_it_whole_and_know_who_wrote_it(tmp_path: Path) -> None:
    file = make(tmp_path / "a.pcapng")
    file.write(record(1_700_000_000_123_456_789))
    file.close()
    text = command.run(["capinfos", str(tmp_path / "a.pcapng")]).stdout
    assert "Capture application: interceptor " in text
    assert "nanoseconds (9)" in text
    assert "Name = uplink eth0" in text
    assert "Filter string = port 53" in text


def test_statistics_end_the_file_with_what_was_lost(tmp_path: Path) -> None:
    file = make(tmp_path / "a.pcapng")
    file.write(record(5))
    file.close()
    data = (tmp_path / "a.pcapng").read_bytes()
    blocks = []
    while data:
        kind, size = struct.unpack_from("<II", data)
        blocks.append((kind, data[8 : size - 4]))
        data = data[size:]
    assert [kind for kind, _ in blocks[-2:]] == [pcapread.STATISTICS] * 2
    body = blocks[-2][1]
    assert struct.unpack_from("<I", body) == (0,)
    assert struct.pack("<HHQ", 4, 8, 100) + struct.pack("<HHQ", 5, 8, 7) in body


def test_files_are_their_owner_s_alone_also_those_that_were_there(tmp_path: Path) -> None:
    (tmp_path / "a.pcapng").write_bytes(b"x" * 10_000)
    (tmp_path / "a.pcapng").chmod(0o644)
    make(tmp_path / "a.pcapng").close()
    assert stat.S_IMODE((tmp_path / "a.pcapng").stat().st_mode) == 0o600
    assert list(pcap.read(tmp_path / "a.pcapng")) == []


def test_a_ring_keeps_the_last_files_each_whole(tmp_path: Path) -> None:
    file = make(tmp_path / "a.pcapng", Ring(3, 1000))
    for number in range(1, 101):
        file.write(record(number))
    file.close()
    there = sorted(tmp_path.iterdir())
    assert there == list(file.files)
    assert len(there) == 3
    numbers = [found.time_ns for path in there for found in pcap.read(path)]
    assert numbers == list(range(numbers[0], 101))
    assert numbers[0] > 1
    assert all(path.stat().st_size < 1500 for path in there)


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(InterceptorError, match="name another file with -w"):
        make(tmp_path / "none" / "a.pcapng")


def test_a_reader_that_leaves_ends_it_quietly(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    file = make(tmp_path / "fifo")
    file.write(record(1))
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        file.flush()
    file.close()
