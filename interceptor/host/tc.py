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
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from interceptor.host import netlink
from interceptor.host.netlink import Message, Route, number, text
from interceptor.host.pin import CLSACT

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
    with netlink.open_route() as route:
        there = _filters(route, index, hook)
        own = [each for each in there if each.ours]
        priority = own[0].priority if own else choose_priority(there)
        route.tc(
            "replace-filter" if own else "add-filter",
            "bpf",
            index,
            parent=hook,
            info=priority << 16 | ETH_P_ALL_BE,
            handle=HANDLE,
            fd=descriptor,
            name=f"{NAME_PREFIX}{program}",
            direct_action=True,
        )
        return next(each for each in _filters(route, index, hook) if each.ours)


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
    with netlink.open_route() as route:
        return _filters(route, index, hook)


def _filters(route: Route, index: int, hook: Hook) -> list[Filter]:
    try:
        messages = route.filters(index, hook)
    except OSError as error:
        if error.errno not in _GONE:
            raise
        return []
    found = (parse(message) for message in messages)
    return [each for each in found if each is not None]


def parse(message: Message) -> Filter | None:
    """Read RTM_NEWTFILTER; None for what heads a list of filters."""
    if message["handle"] == 0 or message["parent"] not in (Hook.INGRESS, Hook.EGRESS):
        return None
    kind = text(message, "kind")
    bpf = kind == "bpf"
    return Filter(
        index=message["index"],
        hook=Hook(message["parent"]),
        priority=message["info"] >> 16,
        handle=message["handle"],
        kind=kind,
        protocol_be=message["info"] & 0xFFFF,
        chain=number(message, "chain"),
        name=text(message, "options", "name") if bpf else "",
        program_id=number(message, "options", "id") if bpf else 0,
        tag=text(message, "options", "tag").replace(":", "") if bpf else "",
    )


def ours() -> list[Filter]:
    """Every filter of ours in this network namespace."""
    with netlink.open_route() as route:
        places = [(index, hook) for index in sorted(_clsacts(route)) for hook in Hook]
        found = [each for index, hook in places for each in _filters(route, index, hook)]
    return [each for each in found if each.ours]


def detach(filter: Filter) -> bool:
    """Remove one filter of ours; False where it was gone. The qdisc stays: see `release`."""
    assert filter.ours
    info = filter.priority << 16 | filter.protocol_be
    with netlink.open_route() as route:
        try:
            route.tc(
                "del-filter",
                "bpf",
                filter.index,
                parent=filter.hook,
                info=info,
                handle=filter.handle,
            )
        except OSError as error:
            if error.errno not in _GONE:
                raise
            return False
    return True


def clsacts() -> frozenset[int]:
    """The indices of the devices that have a clsact qdisc, whosever it is."""
    with netlink.open_route() as route:
        return _clsacts(route)


def _clsacts(route: Route) -> frozenset[int]:
    return frozenset(each["index"] for each in route.qdiscs() if text(each, "kind") == CLSACT)


def ensure_clsact(folder: Path, index: int) -> bool:
    """Give a device its clsact qdisc. Whether we made it: then it is marked as ours first."""
    with netlink.open_route() as route:
        if index in _clsacts(route):
            return False
        place = marker(folder, index)
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            route.tc("add", CLSACT, index)
        except OSError as error:
            place.rmdir()
            if isinstance(error, FileExistsError):  # another was faster
                return False
            raise
    return True


def marker(folder: Path, index: int) -> Path:
    """What says that a device's clsact is ours: an index alone is another device elsewhere."""
    return folder / CLSACT / f"{namespace()}-{index}"


def marked(folder: Path) -> list[int]:
    """The devices of this network namespace that got their clsact from us; some may be gone."""
    prefix = f"{namespace()}-"
    places = (folder / CLSACT).glob(f"{prefix}*")
    return sorted(int(place.name.removeprefix(prefix)) for place in places)


def namespace() -> int:
    """The inode of this thread's network namespace."""
    return os.stat("/proc/thread-self/ns/net").st_ino


def release(folder: Path, index: int) -> bool:
    """Remove a device's clsact if we made it and nobody has a filter on it. Whether it is gone."""
    place = marker(folder, index)
    if not place.exists():
        return False
    with netlink.open_route() as route:
        if any(_filters(route, index, hook) for hook in Hook):
            return False
        with suppress(OSError):  # gone with its device
            route.tc("del", CLSACT, index)
    place.rmdir()
    return True
