"""What this kernel takes of the ebpf back end, found by trying."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import Any

import pytest

from interceptor.capture import trial
from interceptor.capture.attachment import FILTERS, LINKS, SUBSTITUTES
from interceptor.errors import Unsupported
from interceptor.host import probe, scratch
from interceptor.host.bytecode import Bytecode
from interceptor.host.layout import LAYOUT

pytestmark = pytest.mark.root

BAD = bytes.fromhex("9500000000000000")  # exit, without a result


@pytest.fixture(scope="module")
def code(compiled: Any) -> Bytecode:
    substitutes = [name for names in SUBSTITUTES.values() for name in names]
    names = (*LINKS, *FILTERS, *substitutes)
    return Bytecode("", "", {name: compiled[name] for name in names})


def broken(code: Bytecode, name: str) -> Bytecode:
    bad = replace(code.programs[name], instructions=BAD)
    return replace(code, programs={**code.programs, name: bad})


def test_this_kernel_takes_everything_and_nothing_stays(code: Bytecode) -> None:
    before = len(os.listdir("/proc/self/fd"))
    began = time.perf_counter()
    found = trial.observe(lambda: code)
    print(f"trial {(time.perf_counter() - began) * 1000:.0f} ms")
    assert found == trial.Found(True, f"v{LAYOUT}", "", "")
    # Fewer where something of another test's is collected meanwhile.
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_program_that_is_refused_is_named_for_its_plane(code: Bytecode) -> None:
    found = trial.observe(lambda: broken(code, "dns_lo"))
    assert (found.dns.startswith("a kernel that takes the programs dns_lo ("), found.tcp) == (
        True,
        "",
    )
    found = trial.observe(lambda: broken(code, "connect6"))
    assert "connect6" in found.dns
    assert "connect6" in found.tcp


def test_where_one_program_asks_too_much_its_substitute_is_taken(code: Bytecode) -> None:
    assert trial.observe(lambda: broken(code, "lookup")).tcp == ""


def test_without_bytecode_and_compiler_nothing_is_tried() -> None:
    def read() -> Bytecode:
        raise Unsupported("BPF programs", "bcc that compiles them")

    found = trial.observe(read)
    assert found == trial.Found(True, "", "bcc that compiles them", "bcc that compiles them")


def test_who_is_not_root_is_told_so(code: Bytecode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert trial.observe(lambda: code).tcp == "to be root"


def test_without_cgroup2_there_is_nothing_to_hang_programs_on(
    code: Bytecode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "cgroup_mount", lambda: "")
    assert trial.observe(lambda: code) == trial.Found(
        False, f"v{LAYOUT}", "a cgroup2 mount", "a cgroup2 mount"
    )


def test_a_scratch_namespace_is_another_and_the_process_stays_where_it_is() -> None:
    here = os.stat("/proc/self/ns/net").st_ino
    there = scratch.call(lambda: os.stat("/proc/thread-self/ns/net").st_ino)
    assert there != here == os.stat("/proc/thread-self/ns/net").st_ino
