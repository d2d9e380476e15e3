"""tc: BPF filters of ours on devices, between whatever others have there (linux/pkt_sched.h).

A filter is ours by its name, `interceptor_<program>`. It stands at priority 1, before everybody
else's, because what another filter accepts ends the chain and would never reach it; what ours
does not answer it returns as TC_ACT_UNSPEC, and the others see it as if we were not there. Where
a filter of another kind holds priority 1 (one priority is one kind's), ours takes the first that
is free behind it. Beside a foreign BPF filter it is told apart by its handle.

A clsact qdisc that was there stays; one that we made has a marker among the pins (by network
namespace and device), and goes when no filter is left on it, whosever.
"""

from __future__ import annotations

import enum
import errno
import os
import socket
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from interceptor.host import netlink
from interceptor.host.pin import CLSACT

RTM_NEWQDISC, RTM_DELQDISC, RTM_GETQDISC = 36, 37, 38  # linux/rtnetlink.h
RTM_NEWTFILTER, RTM_DELTFILTER, RTM_GETTFILTER = 44, 45, 46
TCMSG = struct.Struct("=BxxxiIII")  # struct tcmsg: family, index, handle, parent, info
TCA_KIND, TCA_OPTIONS, TCA_CHAIN = 1, 2, 11
TCA_BPF_FD, TCA_BPF_NAME, TCA_BPF_FLAGS, TCA_BPF_TAG, TCA_BPF_ID = 6, 7, 8, 10, 11
TCA_BPF_FLAG_ACT_DIRECT = 1  # linux/pkt_cls.h
TC_H_CLSACT = 0xFFFFFFF1
CLSACT_HANDLE = 0xFFFF0000
ETH_P_ALL_BE = socket.htons(0x3)  # linux/if_ether.h
_GONE = (errno.ENOENT, errno.ENODEV, errno.EINVAL)  # filter, device, qdisc

NAME_PREFIX = "interceptor_"
HANDLE = 0x1DC0


class Hook(enum.IntEnum):
    """Parents below clsact: TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_*)."""

    INGRESS = 0xFFFFFFF2
    EGRESS = 0xFFFFFFF3


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter that is attached. ``name``, ``program_id`` and ``tag`` are BPF's only.

    ``protocol_be`` is the ethertype as tc has it; ``chain`` is 0 but for filters of others.
    """

    index: int
    hook: Hook
    priority: int
    handle: int
    kind: str
    protocol_be: int
    chain: int
    name: str
    program_id: int
    tag: str

    @property
    def ours(self) -> bool:
        return self.kind == "bpf" and self.name.startswith(NAME_PREFIX)

    @property
    def program(self) -> str:
        """Which of our programs it is."""
        return self.name.removeprefix(NAME_PREFIX)


def attach(folder: Path, index: int, hook: Hook, program: str, descriptor: int) -> Filter:
    """Have a device run a program, in place of the one of ours that it ran: packets meet the old
    one or the new. ``folder``: where the pins are. Raises OSError (ENODEV: the device is gone).
    """
    ensure_clsact(folder, index)
    there = filters(index, hook)
    own = [each for each in there if each.ours]
    priority = own[0].priority if own else choose_priority(there)
    flags = netlink.NLM_F_CREATE | (0 if own else netlink.NLM_F_EXCL)
    options = netlink.nested(
        TCA_OPTIONS,
        netlink.attribute(TCA_BPF_FD, struct.pack("=I", descriptor)),
        netlink.attribute(TCA_BPF_NAME, f"{NAME_PREFIX}{program}".encode() + b"\0"),
        netlink.attribute(TCA_BPF_FLAGS, struct.pack("=I", TCA_BPF_FLAG_ACT_DIRECT)),
    )
    head = TCMSG.pack(0, index, HANDLE, hook, priority << 16 | ETH_P_ALL_BE)
    body = head + netlink.attribute(TCA_KIND, b"bpf\0") + options
    netlink.request(RTM_NEWTFILTER, flags, body)
    return next(each for each in filters(index, hook) if each.ours)


def choose_priority(there: list[Filter]) -> int:
    """The first priority that nobody has, or BPF filters for every protocol, as ours is."""
    taken = {
        each.priority
        for each in there
        if each.chain == 0 and (each.kind, each.protocol_be) != ("bpf", ETH_P_ALL_BE)
    }
    return next(number for number in range(1, 0x10000) if number not in taken)


def filters(index: int, hook: Hook) -> list[Filter]:
    """Everybody's filters at one place, of each chain in the order in which they run."""
    head = TCMSG.pack(0, index, 0, hook, 0)
    try:
        messages = netlink.request(RTM_GETTFILTER, netlink.NLM_F_DUMP, head)
    except OSError as error:
        if error.errno not in _GONE:
            raise
        return []
    found = (parse(message) for message in messages)
    return [each for each in found if each is not None]


def parse(message: bytes) -> Filter | None:
    """Read RTM_NEWTFILTER without its header; None for what heads a list of filters."""
    _, index, handle, parent, info = TCMSG.unpack_from(message)
    attributes = netlink.parse_attributes(message[TCMSG.size :])
    if handle == 0 or parent not in (Hook.INGRESS, Hook.EGRESS):
        return None
    options = netlink.parse_attributes(attributes.get(TCA_OPTIONS, b""))
    kind = _text(attributes.get(TCA_KIND))
    bpf = options if kind == "bpf" else {}
    return Filter(
        index=index,
        hook=Hook(parent),
        priority=info >> 16,
        handle=handle,
        kind=kind,
        protocol_be=info & 0xFFFF,
        chain=_number(attributes.get(TCA_CHAIN)),
        name=_text(bpf.get(TCA_BPF_NAME)),
        program_id=_number(bpf.get(TCA_BPF_ID)),
        tag=bpf.get(TCA_BPF_TAG, b"").hex(),
    )


def _text(value: bytes | None) -> str:
    return (value or b"").rstrip(b"\0").decode(errors="replace")


def _number(value: bytes | None) -> int:
    return int.from_bytes(value or b"", sys.byteorder)


def ours() -> list[Filter]:
    """Every filter of ours in this network namespace."""
    places = ((index, hook) for index in sorted(clsacts()) for hook in Hook)
    return [each for index, hook in places for each in filters(index, hook) if each.ours]


def detach(filter: Filter) -> bool:
    """Remove one filter of ours; False where it was gone. The qdisc stays: see `release`."""
    assert filter.ours
    info = filter.priority << 16 | filter.protocol_be
    head = TCMSG.pack(0, filter.index, filter.handle, filter.hook, info)
    try:
        netlink.request(RTM_DELTFILTER, 0, head + netlink.attribute(TCA_KIND, b"bpf\0"))
    except OSError as error:
        if error.errno not in _GONE:
            raise
        return False
    return True


def clsacts() -> frozenset[int]:
    """The indices of the devices that have a clsact qdisc, whosever it is."""
    messages = netlink.request(RTM_GETQDISC, netlink.NLM_F_DUMP, TCMSG.pack(0, 0, 0, 0, 0))
    found = set()
    for message in messages:
        _, index, _, _, _ = TCMSG.unpack_from(message)
        if _text(netlink.parse_attributes(message[TCMSG.size :]).get(TCA_KIND)) == CLSACT:
            found.add(index)
    return frozenset(found)


def ensure_clsact(folder: Path, index: int) -> bool:
    """Give a device its clsact qdisc. Whether we made it: then it is marked as ours first."""
    if index in clsacts():
        return False
    place = marker(folder, index)
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    head = TCMSG.pack(0, index, CLSACT_HANDLE, TC_H_CLSACT, 0)
    body = head + netlink.attribute(TCA_KIND, f"{CLSACT}\0".encode())
    try:
        netlink.request(RTM_NEWQDISC, netlink.NLM_F_CREATE | netlink.NLM_F_EXCL, body)
    except OSError as error:
        place.rmdir()
        if isinstance(error, FileExistsError):  # another was faster
            return False
        raise
    return True


def marker(folder: Path, index: int) -> Path:
    """What says that a device's clsact is ours: an index alone is another device elsewhere."""
    return folder / CLSACT / f"{_namespace()}-{index}"


def marked(folder: Path) -> list[int]:
    """The devices of this network namespace that got their clsact from us; some may be gone."""
    prefix = f"{_namespace()}-"
    places = (folder / CLSACT).glob(f"{prefix}*")
    return sorted(int(place.name.removeprefix(prefix)) for place in places)


def _namespace() -> int:
    """The inode of this thread's network namespace."""
    return os.stat("/proc/thread-self/ns/net").st_ino


def release(folder: Path, index: int) -> bool:
    """Remove a device's clsact if we made it and nobody has a filter on it. Whether it is gone."""
    place = marker(folder, index)
    if not place.exists() or any(filters(index, hook) for hook in Hook):
        return False
    head = TCMSG.pack(0, index, CLSACT_HANDLE, TC_H_CLSACT, 0)
    with suppress(OSError):  # gone with its device
        netlink.request(RTM_DELQDISC, 0, head)
    place.rmdir()
    return True
