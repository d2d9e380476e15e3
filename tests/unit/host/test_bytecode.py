from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.errors import Unsupported
from interceptor.host import bytecode
from interceptor.host.bpf import AttachType, ProgramType
from interceptor.host.bytecode import LD_IMM64, PSEUDO_MAP_FD, Bytecode, BytecodeError, Program
from interceptor.host.layout import LAYOUT, Map

MOVE = struct.pack("=BBhi", 0xB7, 0, 0, 1)
EXIT = struct.pack("=BBhi", 0x95, 0, 0, 0)


def wide(number: int, source: int) -> bytes:
    """An LD_IMM64 into r1, which takes two places."""
    return struct.pack("=BBhiBBhi", LD_IMM64, source << 4 | 1, 0, number, 0, 0, 0, 0)


def program(instructions: bytes, name: str = "connect4") -> Program:
    kind, attach = ProgramType.CGROUP_SOCK_ADDR, AttachType.CGROUP_INET4_CONNECT
    return Program(name, kind, attach, instructions)


def test_map_numbers_become_descriptors_and_constants_stay() -> None:
    constant = wide(Map.POLICY, 0)
    code = program(wide(Map.STATE, PSEUDO_MAP_FD) + constant + wide(Map.POLICY, 1) + EXIT)
    assert bytecode.maps(code) == {Map.STATE, Map.POLICY}
    resolved = bytecode.resolve(code, {Map.STATE: 70, Map.POLICY: 71})
    assert resolved == wide(70, 1) + constant + wide(71, 1) + EXIT


def test_the_second_half_of_a_wide_constant_is_no_instruction() -> None:
    looks_like_one = struct.pack("=BBhi", LD_IMM64, 0x01, 0, 5) + wide(99, PSEUDO_MAP_FD)[:8]
    assert bytecode.maps(program(looks_like_one + EXIT)) == frozenset()


def test_a_number_that_is_no_map_s_is_an_error() -> None:
    with pytest.raises(BytecodeError, match="connect4: 99"):
        bytecode.maps(program(wide(99, PSEUDO_MAP_FD)))


programs = st.builds(
    Program,
    st.sampled_from(["dns_lo", "connect4", "listen"]),
    st.sampled_from(ProgramType),
    st.sampled_from(AttachType),
    st.binary(min_size=1, max_size=64).map(lambda raw: raw * 8),
)


@given(st.lists(programs, unique_by=lambda each: each.name))
def test_the_file_gives_back_what_was_written(several: list[Program]) -> None:
    code = Bytecode("digest", "bcc 1", {each.name: each for each in several})
    assert bytecode.parse(bytecode.render(code)) == code


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"layout": 1, "source": "", "compiler": "", "programs": {"a": {}}}']
)
def test_what_is_no_bytecode_file_is_refused(text: str) -> None:
    with pytest.raises(BytecodeError, match="not a bytecode file"):
        bytecode.parse(text)


def test_half_an_instruction_is_refused() -> None:
    text = bytecode.render(Bytecode("", "", {"connect4": program(EXIT + b"\0" * 4)}))
    with pytest.raises(BytecodeError, match="12 bytes"):
        bytecode.parse(text)


def test_bytecode_of_another_layout_is_refused() -> None:
    whole = json.loads(bytecode.render(Bytecode("", "", {})))
    whole["layout"] = LAYOUT + 1
    with pytest.raises(BytecodeError, match=f"layout {LAYOUT + 1}, not {LAYOUT}"):
        bytecode.parse(json.dumps(whole))


def test_the_digest_is_of_names_and_contents(tmp_path: Path) -> None:
    folder = tmp_path / "bpf"
    folder.mkdir()
    (folder / "a.c").write_text("a")
    before = bytecode.source_digest(folder)
    (folder / "README.md").write_text("not compiled")
    assert bytecode.source_digest(folder) == before
    (folder / "a.c").rename(folder / "b.c")
    moved = bytecode.source_digest(folder)
    (folder / "b.c").write_text("b")
    assert len({before, moved, bytecode.source_digest(folder)}) == 3


def test_neither_bytecode_nor_source_is_unsupported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("INTERCEPTOR_BPF", raising=False)
    monkeypatch.setattr(bytecode, "FILE", tmp_path / "none.json")
    monkeypatch.setattr(bytecode, "SOURCE", tmp_path / "none")
    with pytest.raises(Unsupported, match="a checkout has"):
        bytecode.read()


def test_source_without_a_compiler_is_unsupported_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bcc.py").write_text("raise ImportError('no LLVM here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("INTERCEPTOR_BPF", "compile")
    with pytest.raises(Unsupported, match="no LLVM here"):
        bytecode.read()
