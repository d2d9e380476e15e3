"""The whole list: every case, and the cells that cannot be."""

from __future__ import annotations

from tests.contract.conformance import (
    answer_cases,
    host_cases,
    loss_cases,
    passing_cases,
    resolver_cases,
    scope_cases,
    socket_cases,
)
from tests.contract.conformance.case import Case, Unsupported

CASES: tuple[Case, ...] = (
    *answer_cases.CASES,
    *passing_cases.CASES,
    *resolver_cases.CASES,
    *scope_cases.CASES,
    *socket_cases.CASES,
    *loss_cases.CASES,
    *host_cases.CASES,
)
BY_NAME = {case.name: case for case in CASES}

NETFILTER = ("iptables", "nftables")
NO_DEVICE = Unsupported(
    "a redirected packet is looked up again, and a socket bound to another device than lo is "
    "not found for it",
    "error='timeout'",
)
NO_LOOPBACK = Unsupported(
    "routing refuses a loopback source towards another host before any rule is met, as it "
    "does without an agent",
    "error='EINVAL'",
)
NO_WATCH = Unsupported(
    "rules cannot see whether a listener lives; the daemon exchanges them for the sidecar that "
    "it manages itself",
    "error='ECONNREFUSED'",
)
UNSUPPORTED: dict[tuple[str, str], Unsupported] = {
    (backend, case): why
    for backends, case, why in (
        (NETFILTER, "bound to a device", NO_DEVICE),
        (NETFILTER, "bound to a loopback address", NO_LOOPBACK),
        (NETFILTER, "no external sidecar, bypass: both go direct", NO_WATCH),
    )
    for backend in backends
}
"""(back end, case) → why it cannot be. Such a cell runs all the same, and has to fail."""
