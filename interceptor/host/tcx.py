"""tcx: BPF programs on devices without any qdisc, where the kernel has it (Linux 6.6 and later).

A clsact qdisc that comes or goes takes the device's transmit queues down for a moment, and with
them packets of anybody's; a link of tcx costs nobody anything. Ours is put at the head of the
list, because what another program accepts would never reach it; what ours does not answer it
returns as TC_ACT_UNSPEC, which is TCX_NEXT: the others, and clsact behind them, see it as if we
were not there.

Links are pinned as <folder>/links/<hook>-<network namespace>-<device>, by inode and index. One
whose device is gone, or moved to another namespace, hangs nowhere.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from interceptor.host import bpf, bpflink, pin, scratch, tc
from interceptor.host.bpf import AttachType, ProgramType
from interceptor.host.tc import Hook

SWITCH = "INTERCEPTOR_TCX"
"""An environment variable: `no` has clsact be used whatever the kernel can do."""
ATTACH: Mapping[Hook, AttachType] = {
    Hook.INGRESS: AttachType.TCX_INGRESS,
    Hook.EGRESS: AttachType.TCX_EGRESS,
}
LO = 1  # its index in every network namespace
PASS = bytes.fromhex("b7000000ffffffff9500000000000000")  # r0 = TC_ACT_UNSPEC; exit
_REFUSALS = (errno.EINVAL, errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP)
_GONE = (errno.ENODEV, errno.ENXIO)
_NAME = re.compile(r"(ingress|egress)-(\d+)-(\d+)")


@dataclass(frozen=True, slots=True)
class Place:
    """One side of one device; ``namespace`` is the inode of its network namespace."""

    namespace: int
    index: int
    hook: Hook

    @property
    def name(self) -> str:
        """What the link is pinned as."""
        return f"{self.hook.name.lower()}-{self.namespace}-{self.index}"


def is_supported() -> bool:
    """Whether this kernel has tcx and we may use it: tried once, in a namespace that is thrown
    away. Raises OSError where that could not be found out."""
    return os.environ.get(SWITCH) != "no" and _try()


@cache
def _try() -> bool:
    try:
        scratch.call(_attach_once)
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        return False
    return True


def _attach_once() -> None:
    program = bpf.load_program("tcx", ProgramType.SCHED_CLS, AttachType.NONE, PASS)
    try:
        os.close(bpflink.create_on_device(program, LO, AttachType.TCX_EGRESS))
    finally:
        os.close(program)


def place(index: int, hook: Hook) -> Place:
    """A place in this thread's network namespace."""
    return Place(tc.namespace(), index, hook)


def parse(name: str) -> Place | None:
    """The place that a pinned link is of; None where it is of no device."""
    match = _NAME.fullmatch(name)
    return Place(int(match[2]), int(match[3]), Hook[match[1].upper()]) if match else None


def places(folder: Path) -> tuple[Place, ...]:
    """Every pinned link of a device, of any network namespace."""
    found = map(parse, pin.links(folder))
    return tuple(each for each in found if each is not None)


def ours(folder: Path) -> tuple[Place, ...]:
    """Those of this network namespace."""
    here = tc.namespace()
    return tuple(each for each in places(folder) if each.namespace == here)


def program_at(folder: Path, place: Place) -> int:
    """The kernel's number of the program that our link runs at a place of this namespace; 0
    where there is no link, or it hangs there no more."""
    link = pin.adopt_link(folder, place.name)
    if link is None:
        return 0
    try:
        info = bpflink.info(link)
    finally:
        os.close(link)
    try:
        return info.program_id if info.id in _links_at(place) else 0
    except OSError as error:
        if error.errno not in _GONE:
            raise
        return 0


def _links_at(place: Place) -> tuple[int, ...]:
    return bpflink.links_on_device(place.index, ATTACH[place.hook])


def attach(folder: Path, place: Place, program: int) -> None:
    """Have a device run a program, swapped in the link that there is: packets meet the old one or
    the new. Raises OSError (ENODEV: the device is gone)."""
    if program_at(folder, place):
        link = pin.adopt_link(folder, place.name)
        assert link is not None
        try:
            bpflink.update(link, program)
        finally:
            os.close(link)
        return
    pin.detach_link(folder, place.name)
    link = bpflink.create_on_device(program, place.index, ATTACH[place.hook])
    try:
        pin.pin_link(folder, place.name, link)
    finally:
        os.close(link)


def has_device(folder: Path, place: Place) -> bool:
    """Whether the device that a link hangs on is still there, in whatever namespace."""
    link = pin.adopt_link(folder, place.name)
    if link is None:
        return False
    try:
        return bpflink.info(link).target != 0
    finally:
        os.close(link)
