"""Programs of others at the hooks of the ebpf back end are found and named."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from interceptor.capture import neighbour
from interceptor.host import bpf, bpflink
from interceptor.host.bpf import AttachType, Command, ProgramType

pytestmark = pytest.mark.root

RETURN_ONE = struct.pack("=BBhi", 0xB7, 0, 0, 1) + struct.pack("=BBhi", 0x95, 0, 0, 0)
RETURN_NEXT = struct.pack("=BBhi", 0xB7, 0, 0, -1) + struct.pack("=BBhi", 0x95, 0, 0, 0)
CONNECT4 = AttachType.CGROUP_INET4_CONNECT


@contextmanager
def attached(name: str, kind: ProgramType, attach: AttachType, target: int) -> Iterator[None]:
    """Somebody's program at a hook, for as long as the link lives."""
    is_tcx = kind is ProgramType.SCHED_CLS
    code, at_load = (RETURN_NEXT, AttachType.NONE) if is_tcx else (RETURN_ONE, attach)
    program = bpf.load_program(name, kind, at_load, code)
    link = bpf.call(Command.LINK_CREATE, struct.pack("=IIII", program, target, attach, 0))
    try:
        yield
    finally:
        os.close(link)
        os.close(program)


def test_whoever_sees_our_connections_too_is_named_and_we_are_not(cgroup: str) -> None:
    place, kind = Path(cgroup), ProgramType.CGROUP_SOCK_ADDR
    folder = os.open(place, os.O_RDONLY)
    try:
        before = neighbour.observe(["ebpf"], place)
        with (
            attached("cil_sock4_conne", kind, CONNECT4, folder),
            attached("connect4_0a1b2c", kind, CONNECT4, folder),
        ):
            found = [each for each in neighbour.observe(["ebpf"], place) if each not in before]
            assert len(bpflink.programs(folder, CONNECT4)) >= 2
        assert [each.text() for each in found] == [
            "Cilium: program cil_sock4_conne (cgroup connect4)"
        ]
        assert neighbour.observe(["ebpf"], place) == before
    finally:
        os.close(folder)


def test_programs_on_devices_without_a_qdisc_are_found_before_ours(
    namespaces: Callable[[str], Any], cgroup: str
) -> None:
    namespace = namespaces("tcx")

    def look() -> list[str]:
        index, kind = socket.if_nametoindex("lo"), ProgramType.SCHED_CLS
        with attached("cil_to_host", kind, AttachType.TCX_EGRESS, index):
            return [each.text() for each in neighbour.observe(["ebpf"], Path(cgroup))]

    assert "Cilium: program cil_to_host (tcx lo egress, before ours)" in namespace.call(look)


def test_a_cgroup_that_is_gone_hides_nobody_else(namespaces: Callable[[str], Any]) -> None:
    namespace = namespaces("gone")
    code = "1,6 0 0 4294967295"  # one classic instruction: everything fits
    shape = f'bpf bytecode "{code}," classid 1:1'
    namespace.sh(f"tc qdisc add dev lo clsact; tc filter add dev lo egress prio 5 {shape}")
    found = namespace.call(neighbour.observe, ["ebpf"], Path("/sys/fs/cgroup/none"))
    assert [each.text() for each in found] == ["somebody: bpf filter (tc lo egress, priority 5)"]
