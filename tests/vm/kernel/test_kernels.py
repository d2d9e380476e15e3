"""The package's bytecode on Debian's kernels: every map is made, every program loads."""

from __future__ import annotations

import errno

import pytest

from interceptor.host.compiler import PROGRAMS
from tests.vm.kernel.machine import Report
from tests.vm.kernel.scene import SUITES

pytestmark = [pytest.mark.vm, pytest.mark.timeout(180)]

TOO_OLD = {
    # bpf_get_netns_cookie for socket operations came in 5.15, ingress_ifindex in 5.17.
    "listen": ((5, 15), errno.EINVAL, "unknown_func_bpf_get_netns_cookie"),
    "lookup": ((5, 17), errno.EACCES, "invalid_bpf_context_access"),
}
"""Programs that need more than the oldest kernel: since when they load, and what is said before."""


def test_the_kernel_is_the_one_that_was_meant(report: Report) -> None:
    least = SUITES[report.kernel.suite]
    newer = report.release > least and report.kernel.suite == "newest"
    assert report.release == least or newer


def test_every_map_is_made_and_filled(report: Report) -> None:
    """The guest speaks of what the kernel refuses only."""
    assert not [key for key in report.said if key[0] in ("map", "put")]


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_program_loads_or_fails_as_it_is_known_to(report: Report, program: str) -> None:
    said = report.said["load", program]
    since, code, reason = TOO_OLD.get(program, ((0, 0), 0, ""))
    if report.release >= since:
        assert said.ok, said.values.get("log", said.values)
    else:
        assert said.values["errno"] == str(code)
        assert reason in said.values["log"]
