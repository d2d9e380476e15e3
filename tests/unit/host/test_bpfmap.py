from __future__ import annotations

from collections.abc import Callable

import pytest

from interceptor.host import bpfmap

Values = Callable[[tuple[str, ...], list[str]], dict[str, int]]


@pytest.mark.parametrize(("text", "count"), [("0\n", 1), ("0-1\n", 2), ("0-3,8\n", 5)])
def test_a_cpu_list_tells_how_many(text: str, count: int) -> None:
    assert bpfmap.count_cpus(text) == count


def test_flags_are_the_kernel_s(c_values: Values) -> None:
    wanted = {"BPF_ANY": bpfmap.ANY, "BPF_NOEXIST": bpfmap.NOEXIST, "BPF_EXIST": bpfmap.EXIST}
    assert c_values(("linux/bpf.h",), list(wanted)) == wanted


def test_a_batch_s_count_lies_where_it_is_read_back(c_values: Values) -> None:
    place = "offsetof(union bpf_attr, batch.count)"
    assert c_values(("linux/bpf.h",), [place]) == {place: 32}
