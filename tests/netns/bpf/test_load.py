"""Loading: instructions over maps of the layout, in the kernel that runs."""

from __future__ import annotations

import os
import struct
from typing import Any

import pytest

from interceptor.errors import VerifierError
from interceptor.host import bpf, bpfmap, bytecode, compiler
from interceptor.host.bpf import AttachType, ProgramType
from interceptor.host.bytecode import Program
from interceptor.host.layout import SPECS, Map, State

pytestmark = pytest.mark.root


def instruction(code: int, registers: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("=BBhi", code, registers, offset, value)


def counting_program() -> Program:
    """r0 = ++STATE[VIEW], or 99 where there is no such element. linux/bpf.h has the codes."""
    words = (
        instruction(0x62, 0x0A, -4, State.VIEW),  # *(u32 *)(r10 - 4) = VIEW
        instruction(0xBF, 0xA2),  # r2 = r10
        instruction(0x07, 0x02, 0, -4),  # r2 += -4
        instruction(0x18, 0x11, 0, Map.STATE) + instruction(0),  # r1 = the map
        instruction(0x85, 0, 0, 1),  # map_lookup_elem
        instruction(0x55, 0x00, 2, 0),  # if r0 goto +2
        instruction(0xB7, 0x00, 0, 99),
        instruction(0x95),
        instruction(0x79, 0x01),  # r1 = *(u64 *)r0
        instruction(0x07, 0x01, 0, 1),  # r1 += 1
        instruction(0x7B, 0x10),  # *(u64 *)r0 = r1
        instruction(0xBF, 0x10),  # r0 = r1
        instruction(0x95),
    )
    return Program("counts", ProgramType.SCHED_CLS, AttachType.NONE, b"".join(words))


def test_a_program_works_on_the_map_that_its_number_names(kernel: Any) -> None:
    state = kernel.maps[Map.STATE]
    state.update(struct.pack("=I", State.VIEW), struct.pack("=Q", 41))
    descriptor = bytecode.load(counting_program(), {Map.STATE: state.fd})
    try:
        done = bpf.run_program(descriptor, b"\0" * 64)
        assert (done.result, done.data) == (42, b"\0" * 64)
        assert state.lookup(struct.pack("=I", State.VIEW)) == struct.pack("=Q", 42)
        assert bpf.program_info(descriptor).name == "counts"
    finally:
        os.close(descriptor)


def test_what_the_verifier_says_is_in_the_error() -> None:
    bad = instruction(0x79, 0x10, 4096) + instruction(0x95)  # r0 = *(u64 *)(context + 4096)
    with pytest.raises(VerifierError) as caught:
        bpf.load_program("bad", ProgramType.SCHED_CLS, AttachType.NONE, bad)
    assert "invalid bpf_context access" in str(caught.value)


@pytest.mark.parametrize("number", SPECS, ids=lambda number: number.name)
def test_each_map_of_the_layout_is_made_as_described(number: Map) -> None:
    made = bpfmap.create(SPECS[number])
    try:
        again = bpfmap.open_id(bpfmap.map_id(made.fd), SPECS[number])
        assert bpfmap.map_id(again.fd) == bpfmap.map_id(made.fd)
        again.close()
    finally:
        made.close()


@pytest.mark.parametrize("name", compiler.PROGRAMS)
def test_the_package_s_bytecode_loads_on_this_kernel(kernel: Any, name: str) -> None:
    program = bytecode.parse(bytecode.FILE.read_text()).programs[name]
    descriptor = bytecode.load(program, {number: each.fd for number, each in kernel.maps.items()})
    try:
        found = bpf.program_info(descriptor)
        assert (found.kind, found.name) == (program.kind, name[:15])
    finally:
        os.close(descriptor)
