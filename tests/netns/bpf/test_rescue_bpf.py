"""scripts/rescue takes BPF's part of us away by `tc` and `rm` alone, and nobody else's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from interceptor.host import bpf, bpflink, cgroup, command, link, pin, tc, tcx
from interceptor.host.bpf import AttachType, ProgramType
from interceptor.host.tc import Hook
from interceptor.lab import snapshot

pytestmark = pytest.mark.root

ROOT = Path(__file__).parents[3]
PASS = bytes.fromhex("b7000000ffffffff9500000000000000")  # return TC_ACT_UNSPEC
ALLOW = bytes.fromhex("b7000000010000009500000000000000")  # return 1
SETUP = """
ip link add v0 type veth peer name v1; ip link add w0 type veth peer name w1
ip link add x0 type veth peer name x1
tc qdisc add dev w0 clsact; tc filter add dev w0 egress prio 3 u32 match u32 0 0 classid 1:1
"""


@pytest.fixture
def group() -> Iterator[Path]:
    folder = cgroup.folder(f"itest-rescue-{os.getpid()}")
    cgroup.create(folder)
    yield folder
    cgroup.remove(folder)


def attach_link(folder: Path, group: Path) -> int:
    """Pin a link of a program on the cgroup; its id."""
    kind, hook = ProgramType.CGROUP_SOCK, AttachType.CGROUP_INET_SOCK_CREATE
    program = bpf.load_program("owner", kind, hook, ALLOW)
    target = cgroup.open_folder(group)
    made = bpflink.create(program, target, hook)
    pin.pin_link(folder, "owner", made)
    number = bpflink.info(made).id
    for descriptor in (program, target, made):
        os.close(descriptor)
    return number


def programs_of_tcx() -> str:
    return command.run(["python3", "-c", snapshot.TCX]).stdout


def shown(space: Any, device: str) -> str:
    return str(
        space.sh(
            f"tc qdisc show dev {device} clsact; "
            f"tc filter show dev {device} egress; tc filter show dev {device} ingress"
        )
    )


def test_filters_qdiscs_links_and_pins_of_ours_go_and_others_stay(
    bpffs: Path, group: Path, tmp_path: Path, namespaces: Callable[[str], Any]
) -> None:
    folder = bpffs / "interceptor"
    pin.prepare(folder)
    for each in pin.open_maps(folder).values():
        each.close()
    (bpffs / "theirs").mkdir()
    space = namespaces("rescue")
    space.sh(SETUP)
    before = {device: shown(space, device) for device in ("v0", "w0")}
    theirs = "filter protocol all pref 9 u32 chain 0"
    program = bpf.load_program("dns", ProgramType.SCHED_CLS, AttachType.NONE, PASS)
    for one in space.call(link.observe):
        if one.name in ("v0", "w0", "x0"):
            for hook in Hook:
                space.call(tc.attach, folder, one.index, hook, "dns_egress", program)
                place = space.call(tcx.place, one.index, hook)
                space.call(tcx.attach, folder, place, program)
    os.close(program)
    space.sh("tc filter add dev x0 egress prio 9 u32 match u32 0 0 classid 1:1")
    number = attach_link(folder, group)
    assert space.call(programs_of_tcx)
    assert shown(space, "v0") != before["v0"]

    space.sh(f"INTERCEPTOR_BPF_DIR={folder} INTERCEPTOR_RUN_DIR={tmp_path} {ROOT}/scripts/rescue")

    assert {device: shown(space, device) for device in before} == before
    assert space.call(programs_of_tcx) == ""
    assert theirs in shown(space, "x0")
    assert "interceptor" not in shown(space, "x0")
    assert [path.name for path in bpffs.iterdir() if path.suffix != ".debug"] == ["theirs"]
    with pytest.raises(FileNotFoundError):
        os.close(bpflink.open_id(number))


def test_a_folder_that_is_on_no_bpffs_is_left_alone(
    tmp_path: Path, namespaces: Callable[[str], Any]
) -> None:
    (tmp_path / "links").mkdir()
    space = namespaces("rescue")
    space.sh(f"INTERCEPTOR_BPF_DIR={tmp_path} INTERCEPTOR_RUN_DIR={tmp_path} {ROOT}/scripts/rescue")
    assert (tmp_path / "links").is_dir()
