"""What somebody removes is back within two seconds, on every back end, counted by its cause."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Collection

import pytest

from interceptor.host import tcx
from interceptor.lab import snapshot
from tests.netns import detach
from tests.netns.watched import LIMIT_S, Fault, watched

pytestmark = [pytest.mark.root, pytest.mark.envoy]

RULESET = "nft list ruleset"
TCX = f"python3 -c {shlex.quote(snapshot.TCX)}"
BPF_DIR = "/sys/fs/bpf/interceptor"
ON_ETH0 = f"{BPF_DIR}/links/egress-*-$(ip -o link show eth0 | cut -d: -f1)"
DETACH = f"{sys.executable} {detach.__file__}"
FILTERS = "tc filter show dev eth0 egress; tc filter show dev lo egress; tc qdisc show"
PINS = "find /sys/fs/bpf | sort"
SAVE = "iptables-legacy-save | grep -v '^[#:]'; ip6tables-legacy-save | grep -v '^[#:]'"
LEGACY = """
iptables-legacy -A INPUT -p tcp --dport 2222 -j DROP
for table in nat mangle; do iptables-legacy -t $table -S; ip6tables-legacy -t $table -S; done
"""
"""Ours go where others' are. A legacy table that was used once is there for good."""


def fault(name: str, script: str, looks: str, *causes: str) -> Fault:
    return Fault(name, script, looks, frozenset(causes))


ROUTES = fault(
    "a route", "ip -6 route del local ::6 dev lo", "ip -6 route show table all", "routes"
)
NFTABLES = (
    fault("flush ruleset", "nft flush ruleset", RULESET, "rules", "sets"),
    fault("a chain", "nft delete chain inet interceptor nat_output", RULESET, "rules"),
    fault("a chain's rules", "nft flush chain inet interceptor nat_output", RULESET, "rules"),
    fault("a set's elements", "nft flush set inet interceptor outbound4", RULESET, "sets"),
    ROUTES,
)
IPTABLES = (
    fault("flush ruleset", "nft flush ruleset", RULESET, "rules"),
    fault("the jumps", "iptables-nft -t nat -F OUTPUT", RULESET, "rules"),
    fault("a set's elements", "ipset flush interceptor_outbound4", "ipset list", "sets"),
    fault(
        "a set",
        "nft flush ruleset; ipset destroy interceptor_outbound4",
        "ipset list; nft list ruleset",
        *("rules", "sets"),
    ),
    ROUTES,
)
LEGACY_IPTABLES = (
    fault("the jumps", "iptables-legacy -t nat -F OUTPUT", SAVE, "rules"),
    fault("a chain's rules", "ip6tables-legacy -t nat -F INTERCEPTOR_OUTPUT", SAVE, "rules"),
    fault("a set's elements", "ipset flush interceptor_outbound4", "ipset list", "sets"),
    # Who takes another lock than everybody's is heard of by nobody, and seen at the next look.
    Fault(
        "the jumps, without the lock",
        "unshare --mount sh -c 'mount -t tmpfs none /run; iptables-legacy -t nat -F OUTPUT'",
        *(SAVE, frozenset(["rules"])),
        limit_s=2 + LIMIT_S,
    ),
    fault(
        "everything of nat", "iptables-legacy -t nat -F; iptables-legacy -t nat -X", SAVE, "rules"
    ),
    ROUTES,
)
CLSACT = (
    fault("a filter", "tc filter del dev eth0 egress", FILTERS, "filters"),
    fault("a clsact", "tc qdisc del dev eth0 clsact", FILTERS, "filters"),
    fault(
        "a clsact that is exchanged",
        "tc qdisc del dev lo clsact; tc qdisc add dev lo clsact",
        *(FILTERS, "filters"),
    ),
)
"""Of a kernel without tcx."""
EBPF = (
    fault("a device's link", f"{DETACH} {ON_ETH0}", TCX, "filters"),
    fault("the pin of a device's link", f"rm {ON_ETH0}", TCX, "filters"),
    fault("every device's link", f"{DETACH} '{BPF_DIR}/links/egress-*'", TCX, "filters"),
    fault("a link's pin", "rm $(find /sys/fs/bpf -path '*/links/connect4')", PINS, "pins"),
    fault("a map's pin", "rm $(find /sys/fs/bpf -name networks)", PINS, "pins"),
    fault(
        "an alias route",
        "ip route del local 127.64.0.0/10 dev lo table local",
        *("ip route show table local", "routes"),
    ),
    fault("every pin", "rm -r /sys/fs/bpf/*", PINS, "pins", "policy", "filters"),
)


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
    backend: str, before: str, faults: Collection[Fault]
) -> None:
    with watched("vm", {"capture": {"backend": backend}}, before) as host:
        whole = host.observe()
        for each in faults:
            host.suffer(each)
        left = snapshot.diff(whole, host.observe())
        assert not left, left
        assert host.dig("www.corp.example") == "10.77.0.61"


def test_filters_of_clsact_are_back_within_two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tcx.SWITCH, "no")
    with watched("vm", {"capture": {"backend": "ebpf"}}) as host:
        whole = host.observe()
        for each in CLSACT:
            host.suffer(each)
        left = snapshot.diff(whole, host.observe())
        assert not left, left


@pytest.mark.parametrize("backend", ["nftables", "iptables"])
def test_what_tproxy_is_routed_by_is_back_within_two_seconds(backend: str) -> None:
    inbound = {"mode": "tproxy", "ports": [3306]}
    rules4, rules6 = (
        "ip rule; ip route show table 15006",
        "ip -6 rule; ip -6 route show table 15006",
    )
    with watched("vm2", {"capture": {"backend": backend, "inbound": inbound}}) as host:
        mark = host.sh("ip rule | sed -n 's/.*fwmark \\([^ ]*\\) lookup 15006.*/\\1/p'").strip()
        assert mark
        rule = f"rule del fwmark {mark} lookup 15006"
        for each in (
            fault("a routing rule", f"ip {rule}", rules4, "routing_rules"),
            fault("IPv6's", f"ip -6 {rule}", rules6, "routing_rules"),
            fault("its table", "ip route flush table 15006", rules4, "routes"),
            fault(
                "all of it",
                f"ip {rule}; ip -6 {rule}; ip -6 route flush table 15006",
                *(f"{rules4}; {rules6}", "routing_rules", "routes"),
            ),
        ):
            host.suffer(each)
