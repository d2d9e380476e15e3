"""Every BPF link of this kernel, whosever: what `bpftool link` shows, without it."""

from __future__ import annotations

import ctypes
import enum
import os
import struct
from collections.abc import Iterator
from contextlib import suppress

from interceptor.host import bpf, bpflink
from interceptor.host.bpf import AttachType, Command
from interceptor.host.bpflink import LinkInfo, LinkType

_NEXT = struct.Struct("=III")  # union bpf_attr: start_id, next_id, open_flags


def links() -> Iterator[LinkInfo]:
    """All of them, by their numbers. Raises PermissionError without CAP_SYS_ADMIN."""
    number = 0
    while True:
        wanted = ctypes.create_string_buffer(_NEXT.pack(number, 0, 0), _NEXT.size)
        try:
            bpf.call(Command.LINK_GET_NEXT_ID, wanted)
        except FileNotFoundError:
            return
        number = _NEXT.unpack(wanted.raw)[1]
        with suppress(FileNotFoundError):  # it may be gone again
            descriptor = bpflink.open_id(number)
            try:
                yield bpflink.info(descriptor)
            finally:
                os.close(descriptor)


def render() -> str:
    """A line each: number, kind, hook, what it hangs on, program."""
    return "".join(f"{_line(each)}\n" for each in links())


def _line(each: LinkInfo) -> str:
    kind, attach = _word(LinkType, each.kind), _word(AttachType, each.attach)
    name = ""
    with suppress(OSError):
        descriptor = bpf.program_by_id(each.program_id)
        try:
            name = bpf.program_info(descriptor).name
        finally:
            os.close(descriptor)
    return f"{each.id}: {kind} {attach} on {each.target}, program {each.program_id} {name}"


def _word(words: type[enum.IntEnum], number: int) -> str:
    """The kernel's word for a number, in lower case; the number where we have none."""
    try:
        return words(number).name.lower()
    except ValueError:
        return str(number)
