"""tc filters of ours between others', on devices of the test's own; `tc` itself is the witness."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from interceptor.host import bpf, tc
from interceptor.host.bpf import AttachType, ProgramType
from interceptor.host.tc import Hook

pytestmark = pytest.mark.root

UNSPEC = bytes.fromhex("b7000000ffffffff9500000000000000")  # return TC_ACT_UNSPEC
ALL = "u32 match u32 0 0 classid 1:1"
FOREIGN = {
    "bpf at our priority": "filter add dev v0 egress prio 1 handle 1 bpf da object-pinned {pin}",
    "another kind at our priority": f"filter add dev v0 egress prio 1 {ALL}",
    "one protocol at our priority": f"filter add dev v0 egress prio 1 protocol ip {ALL}",
    "another kind behind it": f"filter add dev v0 egress prio 7 {ALL}",
    "another chain": f"filter add dev v0 egress chain 5 prio 1 {ALL}",
}


@pytest.fixture
def programs() -> Iterator[tuple[int, int]]:
    """Two loaded programs that let everything pass."""
    both = [bpf.load_program(name, ProgramType.SCHED_CLS, AttachType.NONE, UNSPEC) for name in "ab"]
    yield both[0], both[1]
    for descriptor in both:
        os.close(descriptor)


@pytest.fixture
def space(namespaces: Callable[[str], Any]) -> Any:
    made = namespaces("tc")
    made.sh("ip link add v0 type veth peer name v1; ip link set v0 up; ip link set v1 up")
    return made


@pytest.fixture
def index(space: Any) -> int:
    found: int = json.loads(space.sh("ip -json link show v0"))[0]["ifindex"]
    return found


def send(count: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(count):
            sender.sendto(b"x", ("10.9.9.2", 9))


def shown(space: Any) -> str:
    """What tc tells of v0, counters left out."""
    return str(
        space.sh(
            "tc qdisc show dev v0 clsact; tc filter show dev v0 egress; "
            "tc filter show dev v0 ingress"
        )
    )


def test_tc_sees_our_filter_first_and_direct_action(
    bpffs: Path, programs: tuple[int, int], space: Any, index: int
) -> None:
    attached = space.call(tc.attach, bpffs, index, Hook.EGRESS, "dns_egress", programs[0])
    assert attached.program_id == bpf.program_info(programs[0]).id
    assert attached.tag == bpf.program_info(programs[0]).tag
    assert (attached.ours, attached.program, attached.priority) == (True, "dns_egress", 1)
    told = [
        each
        for each in json.loads(space.sh("tc -json filter show dev v0 egress"))
        if "options" in each
    ]
    assert len(told) == 1
    options = told[0]["options"]
    assert (told[0]["pref"], told[0]["protocol"], options["handle"]) == (1, "all", "0x1dc0")
    assert options["bpf_name"] == "interceptor_dns_egress"
    assert options["direct-action"]
    assert options["prog"]["id"] == attached.program_id


def test_attaching_again_replaces_the_program_in_its_place(
    bpffs: Path, programs: tuple[int, int], space: Any, index: int
) -> None:
    first = space.call(tc.attach, bpffs, index, Hook.EGRESS, "dns_egress", programs[0])
    second = space.call(tc.attach, bpffs, index, Hook.EGRESS, "dns_egress_l3", programs[1])
    assert second.program_id != first.program_id
    assert space.call(tc.ours) == [second]
    assert second.program == "dns_egress_l3"


def test_both_hooks_of_a_device_are_ours_to_list_and_to_leave(
    bpffs: Path, programs: tuple[int, int], space: Any, index: int
) -> None:
    for hook in Hook:
        space.call(tc.attach, bpffs, index, hook, "dns_bridge", programs[0])
    there = space.call(tc.ours)
    assert {each.hook for each in there} == set(Hook)
    assert not space.call(tc.release, bpffs, index)
    assert [space.call(tc.detach, each) for each in there] == [True, True]
    assert [space.call(tc.detach, each) for each in there] == [False, False]
    assert space.call(tc.marked, bpffs) == [index]
    assert space.call(tc.release, bpffs, index)
    assert shown(space) == ""
    assert not space.call(tc.release, bpffs, index)
    assert list((bpffs / "clsact").iterdir()) == []


@pytest.mark.parametrize("what", FOREIGN)
def test_others_filters_and_their_qdisc_stay_as_they_were(
    bpffs: Path, programs: tuple[int, int], space: Any, index: int, what: str
) -> None:
    theirs = bpffs / "theirs"
    bpf.pin(programs[1], str(theirs))
    space.sh(f"tc qdisc add dev v0 clsact; tc {FOREIGN[what].format(pin=theirs)}")
    before = shown(space)
    attached = space.call(tc.attach, bpffs, index, Hook.EGRESS, "dns_egress", programs[0])
    order = [each.ours for each in space.call(tc.filters, index, Hook.EGRESS) if each.chain == 0]
    blocked = what in ("another kind at our priority", "one protocol at our priority")
    assert order[0] is not blocked
    assert attached.priority == (2 if blocked else 1)
    again = space.call(tc.attach, bpffs, index, Hook.EGRESS, "dns_egress", programs[0])
    assert again.priority == attached.priority
    assert space.call(tc.detach, again)
    assert not space.call(tc.release, bpffs, index)
    assert shown(space) == before


def test_ours_is_replaced_where_it_stands_when_a_better_place_is_free(
    bpffs: Path, programs: tuple[int, int], space: Any, index: int
) -> None:
    space.sh(f"tc qdisc add dev v0 clsact; tc {FOREIGN['another kind at our priority']}")
    first = space.call(tc.attach, bpffs, index, Hook.EGRESS, "dns_egress", programs[0])
    space.sh("tc filter del dev v0 egress prio 1")
    second = space.call(tc.attach, bpffs, index, Hook.EGRESS, "dns_egress", programs[1])
    assert first.priority == second.priority == 2
    assert space.call(tc.ours) == [second]


def test_our_qdisc_stays_while_somebody_else_has_a_filter_on_it(
    bpffs: Path, programs: tuple[int, int], space: Any, index: int
) -> None:
    attached = space.call(tc.attach, bpffs, index, Hook.EGRESS, "dns_egress", programs[0])
    space.sh(f"tc {FOREIGN['another chain']}")
    space.call(tc.detach, attached)
    assert not space.call(tc.release, bpffs, index)
    space.sh("tc filter del dev v0 egress chain 5")
    assert space.call(tc.release, bpffs, index)
    assert shown(space) == ""


def test_what_ours_passes_the_others_see(
    bpffs: Path, programs: tuple[int, int], space: Any, index: int
) -> None:
    watch = "u32 match u32 0 0 action mirred egress mirror dev lo"
    space.sh(f"tc qdisc add dev v0 clsact; tc filter add dev v0 egress prio 7 {watch}")
    space.call(tc.attach, bpffs, index, Hook.EGRESS, "dns_egress", programs[0])
    space.sh(
        "ip addr add 10.9.9.1/24 dev v0; ip neigh add 10.9.9.2 lladdr 02:00:00:00:00:01 dev v0"
    )
    space.call(send, 3)
    stats = [
        each["options"]["actions"][0]["stats"]["packets"]
        for each in json.loads(space.sh("tc -json -s filter show dev v0 egress"))
        if "actions" in each.get("options", {})
    ]
    assert stats[0] >= 3


def test_a_device_that_went_is_no_trouble(
    bpffs: Path, programs: tuple[int, int], space: Any, index: int
) -> None:
    attached = space.call(tc.attach, bpffs, index, Hook.EGRESS, "dns_egress", programs[0])
    space.sh("ip link del v0")
    assert not space.call(tc.detach, attached)
    assert space.call(tc.ours) == []
    assert space.call(tc.release, bpffs, index)
    assert space.call(tc.marked, bpffs) == []
    with pytest.raises(OSError, match="No such device"):
        space.call(tc.attach, bpffs, index, Hook.EGRESS, "dns_egress", programs[0])
    assert space.call(tc.marked, bpffs) == []


def test_the_same_index_in_another_namespace_is_not_marked(
    bpffs: Path, programs: tuple[int, int], space: Any, index: int, namespaces: Any
) -> None:
    space.call(tc.attach, bpffs, index, Hook.EGRESS, "dns_egress", programs[0])
    other = namespaces("tc2")
    assert other.call(tc.marked, bpffs) == []
    assert not other.call(tc.release, bpffs, index)


def test_a_foreign_filter_may_have_any_bytes_for_a_name(
    bpffs: Path, programs: tuple[int, int], space: Any, index: int
) -> None:
    bpf.pin(programs[1], str(bpffs / "theirs"))
    script = f"cd {bpffs}; mv theirs theirs\udcff; tc qdisc add dev v0 clsact; tc filter add dev v0"
    space.sh(f"{script} egress prio 1 handle 1 bpf da object-pinned $PWD/theirs\udcff")
    theirs = space.call(tc.filters, index, Hook.EGRESS)
    assert [each.name[:7] for each in theirs] == ["theirs\N{REPLACEMENT CHARACTER}"]
    attached = space.call(tc.attach, bpffs, index, Hook.EGRESS, "dns_egress", programs[0])
    assert space.call(tc.ours) == [attached]
