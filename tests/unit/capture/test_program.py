"""The programs' names in the kernel, by which one version is told from another."""

from __future__ import annotations

import re
from dataclasses import replace

from interceptor.capture import program
from interceptor.capture.attachment import FILTERS, LINKS
from interceptor.capture.program import Programs
from interceptor.host.bpf import AttachType, ProgramType
from interceptor.host.bytecode import Bytecode, Program

ONE = Program(
    "connect4", ProgramType.CGROUP_SOCK_ADDR, AttachType.CGROUP_INET4_CONNECT, b"12345678"
)


def test_a_name_is_one_that_the_kernel_takes_and_people_can_read() -> None:
    names = {program.mark(replace(ONE, name=name)) for name in (*LINKS, *FILTERS)}
    assert len(names) == len(LINKS) + len(FILTERS)
    assert all(re.fullmatch(r"[a-z0-9_]{8,15}", name) for name in names)
    assert program.mark(ONE).startswith("connect4_")


def test_our_programs_are_known_by_their_names() -> None:
    names = {name: program.mark(replace(ONE, name=name)) for name in FILTERS}
    assert all(program.is_mark(mark, "dns_") for mark in names.values())
    assert not program.is_mark(program.mark(ONE), "dns_")
    for theirs in ("dns_egress", "dns_filter_0badcafe", "dns_proxy_v2", "dns_", ""):
        assert not program.is_mark(theirs, "dns_")


def test_whatever_is_another_program_has_another_name() -> None:
    others = (
        replace(ONE, instructions=b"87654321"),
        replace(ONE, attach=AttachType.CGROUP_INET6_CONNECT),
        replace(ONE, name="connect6"),
    )
    assert len({program.mark(each) for each in (ONE, *others)}) == 4


def test_bytecode_is_read_when_it_is_asked_for_and_once() -> None:
    reads = []

    def read() -> Bytecode:
        reads.append(1)
        return Bytecode("", "", {"connect4": ONE})

    programs = Programs(read)
    assert reads == []
    assert programs.attach_type("connect4") is AttachType.CGROUP_INET4_CONNECT
    assert programs.attach_type("connect4") is AttachType.CGROUP_INET4_CONNECT
    assert reads == [1]
