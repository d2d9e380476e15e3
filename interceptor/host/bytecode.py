"""The programs of `bpf/` as bytecode: a file of the package, or compiled by a child process.

Instructions name maps by their number in layout.py; `resolve` puts descriptors there.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import struct
import sys
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from interceptor.errors import Unsupported
from interceptor.host import bpf, command
from interceptor.host.bpf import AttachType, ProgramType
from interceptor.host.layout import LAYOUT, Map

FILE = Path(__file__).with_name("bytecode.json")
SOURCE = Path(__file__).parents[2] / "bpf"
"""The C files: there in a checkout only."""

COMPILE_TIMEOUT_S = 120
WIDTH = 8  # bytes of one instruction
LD_IMM64 = 0x18  # linux/bpf.h: BPF_LD | BPF_DW | BPF_IMM; takes two places
PSEUDO_MAP_FD = 1  # source register of an LD_IMM64 that names a map


@dataclass(frozen=True, slots=True)
class Program:
    """One program as it was compiled: maps are named by number."""

    name: str
    kind: ProgramType
    attach: AttachType
    instructions: bytes


@dataclass(frozen=True, slots=True)
class Bytecode:
    """All programs. ``source``: digest of the C files; ``compiler``: which bcc."""

    source: str
    compiler: str
    programs: Mapping[str, Program]


class BytecodeError(ValueError):
    """What should be bytecode is not, or is of another layout."""


def render(code: Bytecode) -> str:
    """The bytecode file: JSON, instructions compressed (to a sixth) and in base64."""
    programs = {
        program.name: {
            "type": program.kind.name,
            "attach": program.attach.name,
            "instructions": base64.b64encode(zlib.compress(program.instructions, 9)).decode(),
        }
        for program in code.programs.values()
    }
    whole = {
        "layout": LAYOUT,
        "source": code.source,
        "compiler": code.compiler,
        "programs": programs,
    }
    return json.dumps(whole, indent=1, sort_keys=True) + "\n"


def parse(text: str) -> Bytecode:
    """Read the bytecode file. Raises BytecodeError."""
    try:
        whole = json.loads(text)
        layout = int(whole["layout"])
        programs = {name: _program(name, each) for name, each in whole["programs"].items()}
        code = Bytecode(str(whole["source"]), str(whole["compiler"]), programs)
    except (ValueError, KeyError, TypeError, AttributeError, zlib.error) as error:
        raise BytecodeError(f"not a bytecode file: {error!r}") from error
    if layout != LAYOUT:
        raise BytecodeError(f"bytecode of layout {layout}, not {LAYOUT}")
    return code


def _program(name: str, each: Mapping[str, str]) -> Program:
    instructions = zlib.decompress(base64.b64decode(each["instructions"], validate=True))
    if not instructions or len(instructions) % WIDTH:
        raise ValueError(f"{name}: {len(instructions)} bytes of instructions")
    return Program(name, ProgramType[each["type"]], AttachType[each["attach"]], instructions)


def _references(instructions: bytes) -> Iterator[tuple[int, int]]:
    """Where each reference to a map stands (in bytes), and the map's number."""
    at = 0
    while at < len(instructions):
        operation, registers, _, number = struct.unpack_from("=BBhi", instructions, at)
        if operation == LD_IMM64:
            if registers >> 4 == PSEUDO_MAP_FD:
                yield at, number
            at += WIDTH
        at += WIDTH


def maps(program: Program) -> frozenset[Map]:
    """The maps that a program uses. Raises BytecodeError for a number that is no map's."""
    try:
        return frozenset(Map(number) for _, number in _references(program.instructions))
    except ValueError as error:
        raise BytecodeError(f"{program.name}: {error}") from error


def resolve(program: Program, descriptors: Mapping[Map, int]) -> bytes:
    """Instructions with map numbers replaced by file descriptors."""
    resolved = bytearray(program.instructions)
    for at, number in _references(program.instructions):
        struct.pack_into("=i", resolved, at + 4, descriptors[Map(number)])
    return bytes(resolved)


def load(program: Program, descriptors: Mapping[Map, int]) -> int:
    """Load one program over open maps: a descriptor of the caller's. Raises as `bpf.load_program`.

    One that nothing refers to any more (descriptor, link, filter, pin) is gone.
    """
    instructions = resolve(program, descriptors)
    return bpf.load_program(program.name, program.kind, program.attach, instructions)


def source_digest(folder: Path = SOURCE) -> str:
    """SHA-256 over names and contents of the C files and headers."""
    digest = hashlib.sha256()
    for path in sorted([*folder.rglob("*.c"), *folder.rglob("*.h")]):
        digest.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def read() -> Bytecode:
    """The programs to load: the package's, or with INTERCEPTOR_BPF=compile the checkout's, anew.

    Raises Unsupported where there is neither bytecode of our layout nor a compiler.
    """
    wanted = os.environ.get("INTERCEPTOR_BPF", "")
    if wanted == "compile":
        return _compiled("INTERCEPTOR_BPF=compile is set")
    try:
        return parse(FILE.read_text())
    except (OSError, BytecodeError) as error:
        return _compiled(str(error))


def _compiled(why: str) -> Bytecode:
    """Compile in a child: what LLVM takes of memory goes with it."""
    what = f"BPF programs ({why})"
    if not SOURCE.is_dir():
        raise Unsupported(what, f"the C files in {SOURCE}, which a checkout has")
    with tempfile.TemporaryDirectory(prefix="interceptor-") as folder:
        out = Path(folder, "bytecode.json")
        argv = [sys.executable, "-m", "interceptor.host.compiler", str(out)]
        done = command.run(argv, timeout_s=COMPILE_TIMEOUT_S, check=False)
        if not done:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise Unsupported(what, f"bcc (python3-bpfcc) that compiles them: {last}")
        return parse(out.read_text())
