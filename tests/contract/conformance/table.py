"""The whole list: every case, and the cells that cannot be."""

from __future__ import annotations

from tests.contract.conformance import (
    answer_cases,
    edns_cases,
    forward_cases,
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
    *edns_cases.CASES,
    *passing_cases.CASES,
    *forward_cases.CASES,
    *resolver_cases.CASES,
    *scope_cases.CASES,
    *socket_cases.CASES,
    *loss_cases.CASES,
    *host_cases.CASES,
)
LONG = "a name of more than 128 bytes is looked up by no program, and passes"
BY_NAME = {case.name: case for case in CASES}

NETFILTER, EBPF = ("iptables", "nftables"), ("ebpf",)
TABLE: tuple[tuple[tuple[str, ...], str, str, str], ...] = (
    (
        NETFILTER,
        "bound to a device",
        "a redirected packet is looked up again, and a socket bound to another device than lo is "
        "not found for it",
        "error='timeout'",
    ),
    (
        NETFILTER,
        "bound to a loopback address",
        "routing refuses a loopback source towards another host before any rule is met, as it "
        "does without an agent",
        "error='EINVAL'",
    ),
    (
        NETFILTER,
        "agent dies: names of others and of the mesh go on",
        "a queue that nobody reads lets its packets pass: mesh names are the resolver's until "
        "the agent is back",
        # By the first family that is asked after the worker has answered what waited.
        r"got \['(198\.51\.100\.66|2001:db8:bad::66)'\]",
    ),
    (EBPF, "a name of 250 bytes", LONG, r"got \['198\.51\.100\.66'\]"),
    (EBPF, "a long name under a wildcard", LONG, r"got \[\]"),
    (
        EBPF,
        "a query for a mesh name in IP fragments is answered",
        "a program sees one packet at a time; fragments pass",
        r"got \[\]",
    ),
    (
        EBPF,
        "a resolver that is gone, on the link: mesh names go on",
        "a query meets the program when it leaves the device, and without a neighbour's answer "
        "it never does",
        "^TimeoutError",
    ),
    (
        EBPF,
        "excluded interface: TCP",
        "connections are steered before they are routed; DNS is told by its device",
        r"needs capture\.interfaces\.exclude\)\s*$",
    ),
    (
        EBPF,
        "container behind a bridge: TCP",
        "a container connects in a namespace of its own; DNS is seen on the bridge",
        r"needs capture\.interfaces\.bridges\)\s*$",
    ),
    (
        EBPF,
        "TPROXY: the application sees its client",
        "the sidecar sees its client without it, but calls the application itself",
        r"needs capture\.inbound\.mode tproxy\)\s*$",
    ),
)
UNSUPPORTED: dict[tuple[str, str], Unsupported] = {
    (backend, case): Unsupported(reason, symptom)
    for backends, case, reason, symptom in TABLE
    for backend in backends
}
"""(back end, case) → why it cannot be. Such a cell runs all the same, and has to fail."""
