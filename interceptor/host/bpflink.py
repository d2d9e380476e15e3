"""BPF links: programs attached to a cgroup, a network namespace or a device. linux/bpf.h.

A link ends with its last descriptor, unless it is pinned.
"""

from __future__ import annotations

import ctypes
import enum
import struct
from dataclasses import dataclass

from interceptor.host import bpf
from interceptor.host.bpf import AttachType, Command

QUERY = struct.Struct("=IIIIQIIQQQQ")
"""Of union bpf_attr: target, attach type, flags, flags told, program numbers, their count, padding,
flags of each, link numbers, flags of each, revision: the kernel writes this last field whether or
not we say that it is there."""
QUERY_EFFECTIVE = 1
BEFORE = 1 << 3  # BPF_F_BEFORE; relative to nobody it is the head of the list
TCX = (AttachType.TCX_INGRESS, AttachType.TCX_EGRESS)
QUERY_PROGRAMS = 64  # BPF_CGROUP_MAX_PROGS; BPF_MPROG_MAX


class LinkType(enum.IntEnum):
    """enum bpf_link_type, those in use."""

    CGROUP = 3
    NETNS = 5
    TCX = 11


@dataclass(frozen=True, slots=True)
class LinkInfo:
    """``target`` is the cgroup's id, the namespace's inode or the device's index; 0 once that is
    gone."""

    id: int
    kind: int
    program_id: int
    target: int
    attach: int


def create(program: int, target: int, attach: AttachType) -> int:
    """Attach to the cgroup folder or the namespace file that ``target`` is open on.

    Raises OSError: EPERM or EINVAL where somebody attached in an exclusive way, EEXIST where
    a namespace has its one program of that kind without a link.
    """
    return bpf.call(Command.LINK_CREATE, struct.pack("=IIII", program, target, attach, 0))


def create_on_device(program: int, index: int, attach: AttachType) -> int:
    """Attach by tcx to the device with that index, before everybody who is there.

    Raises OSError: EINVAL where the kernel has no tcx, ENODEV where there is no such device.
    """
    wanted = struct.pack("=IIIIQQ", program, index, attach, BEFORE, 0, 0)
    return bpf.call(Command.LINK_CREATE, wanted)


def update(link: int, program: int) -> None:
    """Swap the link's program, atomically: each packet or call meets the old one or the new."""
    bpf.call(Command.LINK_UPDATE, struct.pack("=IIII", link, program, 0, 0))


def detach(link: int) -> None:
    """Detach now, whoever else holds the link; it stays as an object without effect."""
    bpf.call(Command.LINK_DETACH, struct.pack("=I", link))


def open_id(number: int) -> int:
    """A descriptor of a link by the kernel's number. Raises FileNotFoundError."""
    return bpf.call(Command.LINK_GET_FD_BY_ID, struct.pack("=III", number, 0, 0))


def info(link: int) -> LinkInfo:
    """What a link is attached to."""
    raw = bpf.info(link, 32)
    kind, number, program = struct.unpack_from("=III", raw)
    if kind == LinkType.CGROUP:
        target, attach = struct.unpack_from("=QI", raw, 16)
    else:
        target, attach = struct.unpack_from("=II", raw, 16)
    return LinkInfo(number, kind, program, target, attach)


def programs(target: int, attach: AttachType) -> tuple[int, ...]:
    """The numbers of all programs, whosever, that run at a hook, in their order: of a cgroup
    (a descriptor; its ancestors' programs as well) or, of tcx, of a device (its index).
    Raises OSError (EINVAL: this kernel has no such hook)."""
    flags = 0 if attach in TCX else QUERY_EFFECTIVE
    return _query(target, attach, flags)[0]


def links_on_device(index: int, attach: AttachType) -> tuple[int, ...]:
    """The numbers of the links, whosever, by which programs run at a hook of tcx, in their order;
    0 for a program without a link. Raises OSError (ENODEV)."""
    return _query(index, attach, 0)[1]


def _query(target: int, attach: AttachType, flags: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The programs and their links. Of cgroups no links are asked for: 6.5 refuses that."""
    is_tcx = attach in TCX
    numbers, links = (ctypes.c_uint32 * QUERY_PROGRAMS)(), (ctypes.c_uint32 * QUERY_PROGRAMS)()
    places = ctypes.addressof(numbers), ctypes.addressof(links) if is_tcx else 0
    wanted = QUERY.pack(
        *(target, attach, flags, 0, places[0], QUERY_PROGRAMS, 0),
        *(0, places[1], 0, 0),
    )
    asked = ctypes.create_string_buffer(wanted, QUERY.size)
    bpf.call(Command.PROG_QUERY, asked)
    count = QUERY.unpack(asked.raw)[5]
    return tuple(numbers[:count]), tuple(links[:count])
