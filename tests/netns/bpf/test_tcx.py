"""tcx: programs of ours on devices between others', by links that are pinned."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from interceptor.host import bpf, bpflink, command, pin, tcx
from interceptor.host.bpf import AttachType, Command, ProgramType
from interceptor.host.bpflink import LinkType
from interceptor.host.tc import Hook
from interceptor.lab import snapshot

pytestmark = pytest.mark.root

UNSPEC = bytes.fromhex("b7000000ffffffff9500000000000000")  # return TC_ACT_UNSPEC
DROP = bytes.fromhex("b7000000020000009500000000000000")  # return TC_ACT_SHOT
ACCEPT = bytes.fromhex("b7000000000000009500000000000000")  # return TC_ACT_OK
SETUP = """
ip link add v0 type veth peer name v1; ip address add 10.9.9.1/24 dev v0
ip link set v0 up; ip link set v1 up
ip neigh replace 10.9.9.2 lladdr 02:00:00:00:00:02 dev v0 nud permanent
"""


@pytest.fixture
def programs() -> Iterator[Callable[[str, bytes], int]]:
    """A maker of loaded programs."""
    made: list[int] = []

    def load(name: str, code: bytes = UNSPEC) -> int:
        made.append(bpf.load_program(name, ProgramType.SCHED_CLS, AttachType.NONE, code))
        return made[-1]

    yield load
    for descriptor in made:
        os.close(descriptor)


@pytest.fixture
def space(namespaces: Callable[[str], Any]) -> Any:
    made = namespaces("tcx")
    made.sh(SETUP)
    return made


def place_of(space: Any, device: str = "v0", hook: Hook = Hook.EGRESS) -> tcx.Place:
    index = space.call(socket.if_nametoindex, device)
    found: tcx.Place = space.call(tcx.place, index, hook)
    return found


def shown(space: Any) -> list[str]:
    """What the kernel tells whom it knows by nothing but its numbers."""
    told: str = space.call(command.run, ["python3", "-c", snapshot.TCX]).stdout
    return told.splitlines()


def sent(space: Any) -> int:
    """How many of ten packets leave v0: what arrives at the other end of the cable."""

    def received() -> int:
        return int(space.sh("cat /proc/net/dev | sed -n 's/^ *v1: *[0-9]* *\\([0-9]*\\) .*/\\1/p'"))

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(10):
                sender.sendto(b"x", ("10.9.9.2", 9))

    before = received()
    space.call(send)
    return received() - before


def foreign(space: Any, program: int, device: str = "v0") -> int:
    """A link of somebody else's at egress, behind all that are there; its descriptor."""
    index = space.call(socket.if_nametoindex, device)
    wanted = struct.pack("=IIII", program, index, AttachType.TCX_EGRESS, 0)
    made: int = space.call(bpf.call, Command.LINK_CREATE, wanted)
    return made


def test_this_kernel_has_it_and_the_switch_hides_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tcx.is_supported()
    monkeypatch.setenv(tcx.SWITCH, "no")
    assert not tcx.is_supported()


def test_a_kernel_that_refuses_it_has_none_and_another_failure_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(number: int) -> Callable[..., int]:
        def create(*_: object) -> int:
            raise OSError(number, os.strerror(number))

        return create

    tcx._try.cache_clear()
    try:
        monkeypatch.setattr(bpflink, "create_on_device", refuse(22))
        assert not tcx.is_supported()
        tcx._try.cache_clear()
        monkeypatch.setattr(bpflink, "create_on_device", refuse(12))
        with pytest.raises(OSError, match="Cannot allocate"):
            tcx.is_supported()
    finally:
        tcx._try.cache_clear()


def test_names_of_pins_tell_the_place() -> None:
    place = tcx.Place(4026531840, 7, Hook.INGRESS)
    assert place.name == "ingress-4026531840-7"
    assert tcx.parse(place.name) == place
    assert [tcx.parse(name) for name in ("connect4", "egress-1", "egress-1-2-3")] == [None] * 3


def test_ours_comes_first_and_others_stay(bpffs: Path, programs: Any, space: Any) -> None:
    theirs = foreign(space, programs("theirs", ACCEPT))
    try:
        place = place_of(space)
        space.call(tcx.attach, bpffs, place, programs("ours"))
        assert shown(space) == ["v0 egress ours", "v0 egress theirs"]
        assert sent(space) == 10
        space.call(tcx.attach, bpffs, place, programs("newer", DROP))
        assert shown(space) == ["v0 egress newer", "v0 egress theirs"], "in the place of the old"
        assert sent(space) == 0, "what theirs accepts, ours has seen before"
        pin.detach_link(bpffs, place.name)
        assert shown(space) == ["v0 egress theirs"]
        assert sent(space) == 10
    finally:
        os.close(theirs)
    assert space.sh("tc qdisc show dev v0 clsact") == ""


def test_what_ours_leaves_alone_filters_of_clsact_see(
    bpffs: Path, programs: Any, space: Any
) -> None:
    theirs = bpffs / "theirs"
    bpf.pin(programs("theirs", DROP), str(theirs))
    space.sh("tc qdisc add dev v0 clsact")
    space.sh(f"tc filter add dev v0 egress bpf da object-pinned {theirs}")
    assert sent(space) == 0
    space.call(tcx.attach, bpffs, place_of(space), programs("ours"))
    assert shown(space) == ["v0 egress ours"]
    assert sent(space) == 0


def test_a_link_is_swapped_and_keeps_its_number(bpffs: Path, programs: Any, space: Any) -> None:
    place, numbers = place_of(space), []
    for name in ("first", "second"):
        space.call(tcx.attach, bpffs, place, programs(name))
        link = pin.adopt_link(bpffs, place.name)
        assert link is not None
        info = bpflink.info(link)
        os.close(link)
        numbers.append(info.id)
        assert (info.kind, info.target) == (LinkType.TCX, place.index)
        assert info.attach == AttachType.TCX_EGRESS
        assert space.call(tcx.program_at, bpffs, place) == info.program_id
    assert numbers[0] == numbers[1]
    assert space.call(tcx.ours, bpffs) == (place,)


def test_a_device_that_is_gone_takes_its_program_and_leaves_a_pin_that_tells(
    bpffs: Path, programs: Any, space: Any
) -> None:
    place = place_of(space)
    space.call(tcx.attach, bpffs, place, programs("ours"))
    assert tcx.has_device(bpffs, place)
    space.sh("ip link del v0")
    assert not tcx.has_device(bpffs, place)
    assert space.call(tcx.program_at, bpffs, place) == 0
    with pytest.raises(OSError, match="No such device"):
        space.call(tcx.attach, bpffs, place, programs("again"))
    assert pin.links(bpffs) == ()


def test_a_device_that_moves_to_another_namespace_is_none_of_ours_any_more(
    bpffs: Path, programs: Any, space: Any, namespaces: Callable[[str], Any]
) -> None:
    """As a container's does, and another may have its number by then."""
    other, place = namespaces("moved"), place_of(space)
    space.call(tcx.attach, bpffs, place, programs("ours"))
    space.sh(
        f"ip link set v0 netns {other.name};"
        f"ip link add w0 index {place.index} type veth peer name w1"
    )
    assert shown(other) == ["v0 egress ours"], "the kernel lets it go along"
    assert space.call(tcx.program_at, bpffs, place) == 0
    space.call(tcx.attach, bpffs, place, programs("anew"))
    assert shown(space) == ["w0 egress anew"]
    assert shown(other) == []
