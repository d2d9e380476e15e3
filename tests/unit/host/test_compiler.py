"""The compiler, by a child process as always; and that the package's bytecode is not stale."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from interceptor.host import bytecode, command, compiler
from interceptor.host.bpf import AttachType, ProgramType
from interceptor.host.bytecode import Bytecode, Program
from interceptor.host.layout import SPECS, Map

SOURCE = """
#include <linux/bpf.h>
#include "number.h"
static void *(*find)(void *map, const void *key) = (void *)1;
int owner(struct bpf_sock *socket)
{
	__u32 key = 0;
	return find((void *)bpf_pseudo_fd(1, POLICY), &key) ? PROGRAM_OWNER : 0;
}
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "bpf"
    (folder / "include").mkdir(parents=True)
    (folder / "include" / "number.h").write_text(f"#define POLICY {int(Map.POLICY)}\n")
    (folder / "owner.c").write_text(SOURCE)
    return folder


def run(*words: str | Path) -> command.Completed:
    argv = [sys.executable, "-m", "interceptor.host.compiler", *map(str, words)]
    return command.run(argv, check=False, timeout_s=120)


def test_a_file_compiles_against_its_headers_and_macro(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert run("--source", source, "--only", "owner", out)
    code = bytecode.parse(out.read_text())
    program = code.programs["owner"]
    assert program.kind is ProgramType.CGROUP_SOCK
    assert program.attach is AttachType.CGROUP_INET_SOCK_CREATE
    assert bytecode.maps(program) == {Map.POLICY}
    assert code.source == bytecode.source_digest(source)
    assert run("--source", source, "--only", "owner", "--check", out)


def test_check_tells_a_file_that_is_stale_and_writes_nothing(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert run("--source", source, "--only", "owner", out)
    before = out.read_text()
    (source / "include" / "number.h").write_text(f"#define POLICY {int(Map.STATE)}\n")
    done = run("--source", source, "--only", "owner", "--check", out)
    assert (done.code, out.read_text()) == (1, before)
    assert "is NOT" in done.stdout


def test_another_compiler_s_instructions_are_judged_by_their_source() -> None:
    program = Program("owner", ProgramType.CGROUP_SOCK, AttachType.NONE, b"\x95" + bytes(7))
    ours = Bytecode("digest", "bcc 2", {"owner": program})
    assert compiler.agrees(Bytecode("digest", "bcc 1", {}), ours)
    assert not compiler.agrees(Bytecode("other", "bcc 1", {"owner": program}), ours)
    assert not compiler.agrees(Bytecode("digest", "bcc 2", {}), ours)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("int owner(void *x) { return nothing; }", "owner.c:1:"),
        ("int owner(void *x) { int unused = 1; return 0; }", "unused variable"),
        ("int other(void *x) { return 0; }", "owner.c (owner)"),
    ],
)
def test_what_does_not_compile_is_told_with_its_place(
    source: Path, tmp_path: Path, broken: str, said: str
) -> None:
    (source / "owner.c").write_text(broken)
    done = run("--source", source, "--only", "owner", tmp_path / "out.json")
    assert done.code == 1
    assert said in done.stderr
    assert not (tmp_path / "out.json").exists()


@pytest.fixture(scope="module")
def packaged() -> Bytecode:
    return bytecode.parse(bytecode.FILE.read_text())


def test_the_package_carries_every_program_over_maps_of_the_layout(packaged: Bytecode) -> None:
    assert packaged.programs.keys() == compiler.PROGRAMS.keys()
    for name, program in packaged.programs.items():
        described = compiler.PROGRAMS[name]
        assert (program.kind, program.attach) == (described.kind, described.attach)
        assert bytecode.maps(program) <= SPECS.keys()


def test_the_package_s_bytecode_is_what_the_checkout_compiles_to_at_run_time(
    packaged: Bytecode, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = "run `python -m interceptor.host.compiler`"
    assert packaged.source == bytecode.source_digest(), f"bpf/ has changed: {again}"
    monkeypatch.setenv("INTERCEPTOR_BPF", "compile")
    assert compiler.agrees(packaged, bytecode.read()), again


def test_who_loads_bytecode_does_not_get_the_compiler_into_memory() -> None:
    script = "import interceptor.host.bytecode, sys; sys.exit('bcc' in sys.modules)"
    assert command.run([sys.executable, "-c", script], check=False)
