"""Turns `bpf/*.c` into the bytecode file, by bcc: the only module that imports it.

    python -m interceptor.host.compiler [--check] [OUT]

Always a process of its own: a compile leaves more than 100 MB of LLVM behind.
bcc wants a kernel's source tree; it gets a made-up one that holds links to the
UAPI headers of the C library's development package, so that neither the
running kernel's headers nor any kernel's version matters.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from interceptor.host import bytecode
from interceptor.host.bpf import AttachType, ProgramType
from interceptor.host.bytecode import Bytecode, BytecodeError, Program

HEADERS = Path("/usr/include")
ARCHITECTURES = {"x86_64": "x86", "aarch64": "arm64"}  # arch/<this> of a kernel's source

# What bcc's own headers, which it includes before ours, need of a kernel's.
KCONFIG = """
#include <linux/types.h>
typedef __u8 u8; typedef __u16 u16; typedef __u32 u32; typedef __u64 u64;
typedef __s8 s8; typedef __s16 s16; typedef __s32 s32; typedef __s64 s64;
typedef unsigned long size_t; typedef unsigned long uintptr_t;
typedef _Bool bool; typedef int pid_t;
#define PAGE_SIZE 4096
#define CONFIG_BPF_SYSCALL 1
"""


@dataclass(frozen=True, slots=True)
class Source:
    """Which file a program comes from, and what it is to the kernel."""

    file: str
    kind: ProgramType
    attach: AttachType = AttachType.NONE


_DNS = Source("dns.c", ProgramType.SCHED_CLS)
_CONNECT = ProgramType.CGROUP_SOCK_ADDR

PROGRAMS = {
    "dns_egress": _DNS,
    "dns_egress_l3": _DNS,
    "dns_lo": _DNS,
    "dns_bridge": _DNS,
    "connect4": Source("connect.c", _CONNECT, AttachType.CGROUP_INET4_CONNECT),
    "connect6": Source("connect.c", _CONNECT, AttachType.CGROUP_INET6_CONNECT),
    "peername4": Source("peername.c", _CONNECT, AttachType.CGROUP_INET4_GETPEERNAME),
    "peername6": Source("peername.c", _CONNECT, AttachType.CGROUP_INET6_GETPEERNAME),
    "owner": Source("owner.c", ProgramType.CGROUP_SOCK, AttachType.CGROUP_INET_SOCK_CREATE),
    "original": Source("original.c", ProgramType.CGROUP_SOCKOPT, AttachType.CGROUP_GETSOCKOPT),
    "listen": Source("listen.c", ProgramType.SOCK_OPS, AttachType.CGROUP_SOCK_OPS),
    "lookup": Source("lookup.c", ProgramType.SK_LOOKUP, AttachType.SK_LOOKUP),
    "lookup_plain": Source("lookup.c", ProgramType.SK_LOOKUP, AttachType.SK_LOOKUP),
}
"""Every program by its name, which is its function's. PROGRAM_<NAME> is defined as 1 for it."""


class CompileError(Exception):
    """A file did not compile; what clang said is on stderr."""


def build_stub(folder: Path) -> None:
    """Make the tree that bcc takes for a kernel's source."""
    include = folder / "include"
    uapi = include / "uapi"
    (folder / "arch" / ARCHITECTURES[platform.machine()] / "include").mkdir(parents=True)
    for path in (uapi / "linux", include / "linux", include / "asm"):
        path.mkdir(parents=True)
    for path in (HEADERS / "linux").iterdir():
        if path.name != "bpf.h":
            (uapi / "linux" / path.name).symlink_to(path)
    # bcc brings a bpf.h of its own, which this one would clash with.
    for empty in (uapi / "linux/bpf.h", include / "asm/page.h", include / "linux/log2.h"):
        empty.touch()
    (include / "linux/kconfig.h").write_text(KCONFIG)
    asm = HEADERS / f"{platform.machine()}-linux-gnu" / "asm"
    (uapi / "asm").symlink_to(asm if asm.is_dir() else HEADERS / "asm")
    (uapi / "asm-generic").symlink_to(HEADERS / "asm-generic")
    (uapi / "uapi").symlink_to(".")


def compile_program(name: str, folder: Path) -> Program:
    """One program of ``folder``. BCC_KERNEL_SOURCE names the stub. Raises CompileError."""
    from bcc import BPF

    source = PROGRAMS[name]
    path = folder / source.file
    flags = [f"-I{folder}/include", "-Wall", "-Werror", f"-DPROGRAM_{name.upper()}=1"]
    try:
        text = f'#line 1 "{path}"\n{path.read_text()}'
        # Never loads: that is what attaching or `load_func` would do.
        instructions = BPF(text=text, cflags=flags).dump_func(name)
    except Exception as error:
        raise CompileError(f"{source.file} ({name}): {error}") from error
    return Program(name, source.kind, source.attach, instructions)


def compile_all(folder: Path, names: Iterable[str]) -> Bytecode:
    """Those programs of ``folder``. Raises CompileError at the first that does not compile."""
    import bcc

    with tempfile.TemporaryDirectory(prefix="interceptor-") as stub:
        build_stub(Path(stub))
        os.environ["BCC_KERNEL_SOURCE"] = stub
        programs = {name: compile_program(name, folder) for name in names}
    return Bytecode(bytecode.source_digest(folder), f"bcc {bcc.__version__}", programs)


def agrees(packaged: Bytecode, compiled: Bytecode) -> bool:
    """Whether nothing is stale. Another compiler's instructions may differ: then by the source."""
    if packaged.compiler != compiled.compiler:
        return packaged.source == compiled.source
    return packaged == compiled


def main(argv: list[str] | None = None) -> int:
    """0: done; 1: something does not compile, or (--check) the file is not what it should be."""
    parser = argparse.ArgumentParser(prog="python -m interceptor.host.compiler")
    parser.add_argument("out", nargs="?", type=Path, default=bytecode.FILE)
    parser.add_argument("--source", type=Path, default=bytecode.SOURCE, help="folder of C files")
    parser.add_argument("--check", action="store_true", help="compare with OUT, write nothing")
    parser.add_argument("--only", action="append", choices=PROGRAMS, help="not all programs")
    options = parser.parse_args(argv)
    try:
        code = compile_all(options.source, options.only or PROGRAMS)
        if not options.check:
            options.out.write_text(bytecode.render(code))
            return 0
        same = agrees(bytecode.parse(options.out.read_text()), code)
    except (CompileError, BytecodeError, ImportError, OSError) as error:
        print(f"compiler: {error}", file=sys.stderr)
        return 1
    print(f"{options.out} {'is' if same else 'is NOT'} what the source compiles to")
    return 0 if same else 1


if __name__ == "__main__":
    raise SystemExit(main())
