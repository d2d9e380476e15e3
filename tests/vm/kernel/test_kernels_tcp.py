"""Connections are steered on Debian's kernels that have all that it takes."""

from __future__ import annotations

import errno
from ipaddress import ip_address, ip_network

import pytest

from interceptor.host import layout
from interceptor.host.layout import Way
from tests.vm.kernel.machine import Report
from tests.vm.kernel.scene import LOOKUPS, SUITES, VIP_PORT, VIPS

SINCE = (5, 15)  # `listen`: see test_kernels.py

pytestmark = [
    pytest.mark.vm,
    pytest.mark.timeout(180),
    pytest.mark.parametrize(
        "report", [suite for suite, release in SUITES.items() if release >= SINCE], indirect=True
    ),
    pytest.mark.parametrize("version", VIPS),
    pytest.mark.parametrize("lookup", LOOKUPS),
]

ALIASES = {
    4: ip_network((layout.ALIAS4_BASE | Way.OUTBOUND << 22, 10)),
    6: ip_network((int(layout.ALIAS6_NETWORK[0]) | Way.OUTBOUND << 64, 64)),
}


def test_a_captured_call_reaches_the_sidecar_and_both_ends_see_the_destination(
    report: Report, lookup: str, version: int
) -> None:
    said = report.said["connect", f"{lookup}-{version}"]
    assert said.ok, said
    assert said.values["peer"] == said.values["original"] == f"{VIPS[version]},{VIP_PORT}"
    alias, port = said.values["at"].split(",")
    assert ip_address(alias) in ALIASES[version]
    assert int(port) == VIP_PORT


def test_a_captured_call_is_refused_at_once_without_a_sidecar(
    report: Report, lookup: str, version: int
) -> None:
    said = report.said["connect", f"{lookup}-{version}-alone"]
    assert said.values == {"errno": str(errno.ECONNREFUSED)}
