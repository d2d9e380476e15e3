from __future__ import annotations

import ctypes
from collections.abc import Callable

from interceptor.host import bpf
from interceptor.host.bpf import AttachType, Command, ProgramType

Values = Callable[[tuple[str, ...], list[str]], dict[str, int]]


NEWER = {AttachType.TCX_INGRESS: 46, AttachType.TCX_EGRESS: 47}
"""Since Linux 6.6, and so not in Debian 12's headers."""


def test_commands_and_types_are_the_kernel_s_numbers(c_values: Values) -> None:
    wanted = {f"BPF_{each.name}": int(each) for each in Command}
    wanted |= {f"BPF_PROG_TYPE_{each.name}": int(each) for each in ProgramType}
    known = [each for each in AttachType if each is not AttachType.NONE and each not in NEWER]
    wanted |= {f"BPF_{each.name}": int(each) for each in known}
    assert c_values(("linux/bpf.h",), list(wanted)) == wanted
    assert {each: int(each) for each in NEWER} == NEWER


def test_what_is_read_of_a_program_lies_there(c_values: Values) -> None:
    wanted = {"type": 0, "id": 4, "tag": 8, "name": 64}
    places = {f"offsetof(struct bpf_prog_info, {field})": at for field, at in wanted.items()}
    assert c_values(("linux/bpf.h",), list(places)) == places


def test_the_attributes_of_a_test_run_lie_where_they_are_read_back(c_values: Values) -> None:
    wanted = {"retval": 4, "data_size_out": 12, "duration": 36, "ctx_out": 56}
    places = {f"offsetof(union bpf_attr, test.{field})": at for field, at in wanted.items()}
    assert c_values(("linux/bpf.h",), list(places)) == places


def test_names_are_cut_to_what_the_kernel_holds() -> None:
    assert bpf.object_name("dns_egress_l3_and_more") == b"dns_egress_l3_a"


def test_the_address_of_bytes_is_where_they_lie() -> None:
    data = b"some bytes"
    assert ctypes.string_at(bpf.address(data), len(data)) == data
    assert bpf.address(None) == 0
