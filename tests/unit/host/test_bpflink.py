from __future__ import annotations

from collections.abc import Callable

from interceptor.host.bpflink import LinkType

Values = Callable[[tuple[str, ...], list[str]], dict[str, int]]


TCX = LinkType.TCX  # younger than the headers; tests/netns/bpf/test_tcx.py asks the kernel


def test_kinds_of_links_are_the_kernel_s_numbers(c_values: Values) -> None:
    wanted = {f"BPF_LINK_TYPE_{each.name}": int(each) for each in LinkType if each is not TCX}
    assert c_values(("linux/bpf.h",), list(wanted)) == wanted


def test_what_is_read_of_a_link_lies_there(c_values: Values) -> None:
    wanted = {"prog_id": 8, "cgroup.cgroup_id": 16, "cgroup.attach_type": 24}
    wanted |= {"netns.netns_ino": 16, "netns.attach_type": 20}
    places = {f"offsetof(struct bpf_link_info, {field})": at for field, at in wanted.items()}
    assert c_values(("linux/bpf.h",), list(places)) == places
