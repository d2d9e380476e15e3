"""Cgroups of the kernel's: a child of the test's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from interceptor.host import bpf, bpflink, cgroup, command
from interceptor.host.bpf import AttachType, ProgramType
from interceptor.host.bpflink import LinkType

pytestmark = pytest.mark.root


@pytest.fixture
def group() -> Iterator[Path]:
    folder = cgroup.folder(f"itest-join-{os.getpid()}")
    cgroup.create(folder)
    yield folder
    assert cgroup.remove(folder)


def test_the_program_and_its_children_are_in_it(group: Path) -> None:
    argv = cgroup.join_argv(group, ["sh", "-c", "cat /proc/self/cgroup"])
    path = cgroup.parse_membership(command.run(argv).stdout)
    assert path == f"/{group.name}"
    assert cgroup.of() != path


def test_a_process_is_moved_in_and_out(group: Path) -> None:
    child = command.start(["sleep", "60"])
    try:
        cgroup.move([child.pid], group)
        assert cgroup.processes(group) == (child.pid,)
        assert cgroup.of(child.pid) == f"/{group.name}"
        assert not cgroup.remove(group)
    finally:
        child.stop()
    assert cgroup.processes(group) == ()
    cgroup.move([child.pid], group)
    assert cgroup.of(child.pid) == ""


def test_the_id_is_the_one_by_which_bpf_links_name_it(group: Path) -> None:
    below = group / "below"
    cgroup.create(below)
    instructions = bytes.fromhex("b7000000010000009500000000000000")  # return 1
    kind, attach = ProgramType.CGROUP_SOCK, AttachType.CGROUP_INET_SOCK_CREATE
    program = bpf.load_program("nothing", kind, attach, instructions)
    folder = cgroup.open_folder(below)
    link = bpflink.create(program, folder, attach)
    try:
        found = bpflink.info(link)
        assert (found.kind, found.target) == (LinkType.CGROUP, cgroup.refer(below).id)
        assert found.attach == attach
        assert found.program_id == bpf.program_info(program).id
        other = bpf.load_program("nothing", kind, attach, instructions)
        bpflink.update(link, other)
        assert bpflink.info(link).program_id == bpf.program_info(other).id
        os.close(other)
        bpflink.detach(link)
        assert bpflink.info(link).target == 0
    finally:
        for descriptor in (link, folder, program):
            os.close(descriptor)
        assert cgroup.remove(below)
    assert cgroup.refer(group).level == 1
