"""What somebody removes is back within two seconds, on every back end, counted by its cause."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from interceptor.lab import agent as lab_agent
from interceptor.lab.world import Lab
from tests.netns.watched import Watched

pytestmark = [pytest.mark.root, pytest.mark.envoy]

RULESET = "nft list ruleset"
FILTERS = "tc filter show dev eth0 egress; tc filter show dev lo egress; tc qdisc show"
PINS = "find /sys/fs/bpf | sort"
ROUTES6 = "ip -6 route show table all"
SAVE = "iptables-legacy-save | grep -v '^[#:]'; ip6tables-legacy-save | grep -v '^[#:]'"
LEGACY = "iptables-legacy -A INPUT -p tcp --dport 2222 -j DROP"  # ours go where others' are

Fault = tuple[str, str, str, set[str]]

COMMON: tuple[Fault, ...] = (
    ("a route of ours", "ip -6 route del local ::6 dev lo", ROUTES6, {"routes"}),
)
NFTABLES: tuple[Fault, ...] = (
    ("flush ruleset", "nft flush ruleset", RULESET, {"rules", "sets"}),
    ("one chain", "nft delete chain inet interceptor nat_output", RULESET, {"rules"}),
    ("one chain's rules", "nft flush chain inet interceptor nat_output", RULESET, {"rules"}),
    ("a set's elements", "nft flush set inet interceptor outbound4", RULESET, {"sets"}),
)
IPTABLES: tuple[Fault, ...] = (
    ("flush ruleset", "nft flush ruleset", RULESET, {"rules"}),
    ("the jumps", "iptables-nft -t nat -F OUTPUT", RULESET, {"rules"}),
    ("a chain's rules", "ip6tables-nft -t nat -F INTERCEPTOR_OUTPUT", RULESET, {"rules"}),
    ("a set's elements", "ipset flush interceptor_outbound4", "ipset list", {"sets"}),
    (
        "the sets",
        "nft flush ruleset; ipset destroy interceptor_outbound4",
        "ipset list -n; nft list ruleset",
        {"rules", "sets"},
    ),
)
LEGACY_IPTABLES: tuple[Fault, ...] = (
    ("the jumps", "iptables-legacy -t nat -F OUTPUT", SAVE, {"rules"}),
    ("a chain's rules", "ip6tables-legacy -t nat -F INTERCEPTOR_OUTPUT", SAVE, {"rules"}),
    ("one set's elements", "ipset flush interceptor_outbound4", "ipset list", {"sets"}),
    (
        "everything of nat",
        "iptables-legacy -t nat -F; iptables-legacy -t nat -X",
        SAVE,
        {"rules"},
    ),
)
EBPF: tuple[Fault, ...] = (
    ("a filter", "tc filter del dev eth0 egress", FILTERS, {"filters"}),
    ("a clsact", "tc qdisc del dev eth0 clsact", FILTERS, {"filters"}),
    (
        "a clsact that is exchanged",
        "tc qdisc del dev lo clsact; tc qdisc add dev lo clsact",
        FILTERS,
        {"filters"},
    ),
    (
        "a link's pin",
        "rm $(find /sys/fs/bpf -path '*/links/connect4')",
        PINS,
        {"pins"},
    ),
    ("a map's pin", "rm $(find /sys/fs/bpf -name networks)", PINS, {"pins"}),
    (
        "an alias route",
        "ip route del local 127.64.0.0/10 dev lo table local",
        "ip route show table local",
        {"routes"},
    ),
)


@contextmanager
def watched(backend: str, before: str = "") -> Iterator[Watched]:
    """A daemon on a lab's host that ends well."""
    with Lab.open() as lab:
        if before:
            lab.run("vm", ["sh", "-euc", before])
        agent = lab_agent.prepare(lab, "vm", {"capture": {"backend": backend}})
        agent.start()
        one = Watched(agent)
        yield one
        assert agent.read("status")["drift"] is False
        assert agent.stop() == 0
        figures = ", ".join(f"{fault} {took_s:.2f} s" for fault, took_s in one.took_s.items())
        print(f"\n{agent.log().count('put back')} repairs on {backend}: {figures}")


@pytest.mark.parametrize(
    ("backend", "before", "faults"),
    [
        pytest.param("nftables", "", NFTABLES, id="nftables"),
        pytest.param("iptables", "", IPTABLES, id="iptables-nft"),
        pytest.param("iptables", LEGACY, LEGACY_IPTABLES, id="iptables-legacy"),
        pytest.param("ebpf", "", EBPF, id="ebpf"),
    ],
)
def test_what_somebody_removes_is_back_within_two_seconds(
    backend: str, before: str, faults: tuple[Fault, ...]
) -> None:
    with watched(backend, before) as host:
        for name, script, looks, causes in (*faults, *COMMON):
            host.suffer(name, script, looks, causes)
