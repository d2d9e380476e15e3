"""Programs as the verifier of kernels up to 6.1 walks them, which this one may not be.

Loops are allowed there only where a jump closes them. The compiler may lay one out so that an
ordinary instruction falls through into its head: "back-edge from insn a to b".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from interceptor.host import bytecode

JMP, JMP32, CALL, EXIT, ALWAYS, LD_IMM64 = 5, 6, 0x80, 0x90, 0x00, 0x18  # linux/bpf_common.h
Edges = Iterator[tuple[int, bool]]


def edges(words: list[tuple[int, int, int, int]], at: int) -> Edges:
    """Where control goes from an instruction, and whether a loop may be closed by that."""
    code, _, offset, _ = words[at]
    kind = code & 0xF0 if code & 7 in (JMP, JMP32) else None
    if kind == EXIT:
        return
    if kind == ALWAYS:
        yield at + 1 + offset, True
        return
    yield at + (2 if code == LD_IMM64 else 1), kind not in (None, CALL)
    if kind not in (None, CALL):
        yield at + 1 + offset, True


def forbidden(instructions: bytes) -> list[tuple[int, int]]:
    """kernel/bpf/verifier.c of 6.1, check_cfg: depth first, falling through before jumping."""
    words = list(struct.iter_unpack("=BBhi", instructions))
    is_open: dict[int, bool] = {0: True}
    walk = [(0, edges(words, 0))]
    found = []
    while walk:
        at, ways = walk[-1]
        for to, may_close in ways:
            if to not in is_open:
                is_open[to] = True
                walk.append((to, edges(words, to)))
                break
            if is_open[to] and not may_close:
                found.append((at, to))
        else:
            is_open[at] = False
            walk.pop()
    return found


@pytest.mark.parametrize("name", sorted(bytecode.parse(bytecode.FILE.read_text()).programs))
def test_no_loop_is_closed_by_falling_through(name: str) -> None:
    program = bytecode.parse(bytecode.FILE.read_text()).programs[name]
    assert forbidden(program.instructions) == []


def test_a_loop_whose_last_instruction_falls_into_its_head_is_found() -> None:
    def word(code: int, offset: int = 0) -> bytes:
        return struct.pack("=BBhi", code, 0, offset, 0)

    loop = word(0xB7) + word(0x05, 1) + word(0xB7) + word(0x15, -2) + word(0x95)
    assert forbidden(loop) == [(2, 3)]
