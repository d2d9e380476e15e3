from __future__ import annotations

import sys
from time import monotonic_ns

import pytest

from interceptor.host import clock, command


def test_without_a_time_namespace_it_is_the_monotonic_clock() -> None:
    before = monotonic_ns()
    assert before <= clock.kernel_ns() <= monotonic_ns()


def test_offsets_are_read_as_the_kernel_prints_them() -> None:
    text = "monotonic           0         0\nboottime            0         0\n"
    assert clock.decode(text) == 0
    text = "monotonic       86400  5\nboottime   1  0\n"
    assert clock.decode(text) == 86400 * 10**9 + 5
    assert clock.decode("monotonic -7 1000\n") == -7 * 10**9 + 1000
    assert clock.decode("") == 0


@pytest.mark.root
@pytest.mark.parametrize("offset_s", [1_000_000, -1])
def test_in_a_time_namespace_it_is_the_kernel_s_own(offset_s: int) -> None:
    code = (
        "import time; from interceptor.host import clock; "
        "print(clock.kernel_ns(), time.monotonic_ns())"
    )
    argv = ["unshare", "--time", f"--monotonic={offset_s}", "--fork", sys.executable, "-c", code]
    before = monotonic_ns()
    kernel, shifted = map(int, command.run(argv).stdout.split())
    after = monotonic_ns()
    assert before < kernel < after
    assert not before < shifted < after
