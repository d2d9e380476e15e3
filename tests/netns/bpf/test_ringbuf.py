"""The ring buffer's reader against a program that writes."""

from __future__ import annotations

import os
import select
import struct
from collections.abc import Iterator
from dataclasses import replace

import pytest

from interceptor.host import bpf, bpfmap, bytecode
from interceptor.host.bpf import AttachType, ProgramType
from interceptor.host.bpfmap import BpfMap
from interceptor.host.bytecode import Program
from interceptor.host.layout import SPECS, Map
from interceptor.host.ringbuf import RingBuffer

pytestmark = pytest.mark.root

SIZE = 4096
RECORD = 1004  # no divisor of SIZE: records wrap around; no multiple of 8: they are padded
RESERVE, SUBMIT, DISCARD = 131, 132, 133  # helpers, linux/bpf.h


def word(code: int, registers: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("=BBhi", code, registers, offset, value)


def writer(end: int) -> Program:
    """Reserves a record, writes the packet's length at its begin and end, then submits it or not.

    Returns 0, or 1 where there was no room.
    """
    words = (
        word(0xBF, 0x16),  # r6 = context
        word(0x18, 0x11, 0, Map.EVENTS) + word(0),
        word(0xB7, 0x02, 0, RECORD),
        word(0xB7, 0x03),
        word(0x85, 0, 0, RESERVE),
        word(0x55, 0x00, 2, 0),  # if r0 goto +2
        word(0xB7, 0x00, 0, 1),
        word(0x95),
        word(0x61, 0x61, 0),  # r1 = context->len
        word(0x63, 0x10, 0),  # *(u32 *)r0 = r1
        word(0x63, 0x10, RECORD - 4),
        word(0xBF, 0x01),  # r1 = r0
        word(0xB7, 0x02),
        word(0x85, 0, 0, end),
        word(0xB7, 0x00),
        word(0x95),
    )
    return Program("writer", ProgramType.SCHED_CLS, AttachType.NONE, b"".join(words))


@pytest.fixture
def events() -> Iterator[BpfMap]:
    made = bpfmap.create(replace(SPECS[Map.EVENTS], max_entries=SIZE))
    yield made
    made.close()


@pytest.fixture
def reader(events: BpfMap) -> Iterator[RingBuffer]:
    opened = RingBuffer(events)
    yield opened
    opened.close()


class Writer:
    """A loaded writer; `write` gives whether there was room."""

    def __init__(self, events: BpfMap, end: int) -> None:
        self.fd = bytecode.load(writer(end), {Map.EVENTS: events.fd})

    def write(self, length: int) -> bool:
        return bpf.run_program(self.fd, b"\0" * length).result == 0


@pytest.fixture
def submit(events: BpfMap) -> Iterator[Writer]:
    made = Writer(events, SUBMIT)
    yield made
    os.close(made.fd)


@pytest.fixture
def discard(events: BpfMap) -> Iterator[Writer]:
    made = Writer(events, DISCARD)
    yield made
    os.close(made.fd)


def seen(record: bytes) -> tuple[int, int, int]:
    return (len(record), *struct.unpack(f"=I{RECORD - 8}xI", record))


def test_records_come_whole_and_in_order_also_where_the_buffer_wraps(
    reader: RingBuffer, submit: Writer
) -> None:
    assert list(reader.read()) == []
    for number in range(60, 100):
        assert submit.write(number)
        assert [seen(record) for record in reader.read()] == [(RECORD, number, number)]
    assert list(reader.read()) == []


def test_what_is_discarded_is_not_seen(reader: RingBuffer, submit: Writer, discard: Writer) -> None:
    assert submit.write(60)
    assert discard.write(61)
    assert submit.write(62)
    assert [seen(record)[1] for record in reader.read()] == [60, 62]


def test_a_full_buffer_takes_no_more_until_it_is_read(reader: RingBuffer, submit: Writer) -> None:
    written = [number for number in range(60, 80) if submit.write(number)]
    assert written == [60, 61, 62, 63]
    assert [seen(record)[1] for record in reader.read()] == written
    assert submit.write(80)


def test_the_map_is_readable_only_while_records_wait(reader: RingBuffer, submit: Writer) -> None:
    def readable() -> bool:
        return bool(select.select([reader.fd], [], [], 0)[0])

    assert not readable()
    submit.write(60)
    assert readable()
    list(reader.read())
    assert not readable()


def test_a_second_reader_goes_on_where_the_first_ended(events: BpfMap, submit: Writer) -> None:
    first = RingBuffer(events)
    submit.write(60)
    submit.write(61)
    assert seen(next(first.read()))[1] == 60
    first.close()
    second = RingBuffer(events)
    assert [seen(record)[1] for record in second.read()] == [61]
    second.close()


@pytest.mark.parametrize("astray", [2 * SIZE, -SIZE - 8])
def test_a_reader_that_another_has_led_astray_finds_back(
    reader: RingBuffer, submit: Writer, astray: int
) -> None:
    for number in range(60, 70):
        assert submit.write(number)
        list(reader.read())
    reader._position[0] = reader._end[0] + astray
    assert not submit.write(70)
    assert list(reader.read()) == []
    assert submit.write(71)
    assert [seen(record)[1] for record in reader.read()] == [71]
