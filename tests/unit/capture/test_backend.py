"""The choice of a back end: pure, and every choice says why."""

from __future__ import annotations

from dataclasses import replace

import pytest

from interceptor.capture.backend import Support, choose
from interceptor.capture.placement import Gap
from interceptor.capture.plan import Plane
from interceptor.errors import Unsupported

FULL = Support(
    kernel="6.1.0",
    nft="1.0.6",
    nft_works=True,
    nft_queue=True,
    iptables_nft="1.8.9",
    iptables_nft_works=True,
    iptables_legacy="1.8.9",
    iptables_legacy_works=True,
    default="nft",
    ipset="7.17",
    ipset_works=True,
    cgroup2=True,
    bytecode="v1",
    ebpf_dns="a kernel",
    ebpf_tcp="a kernel",
)
KERNEL = replace(FULL, kernel="6.18.0", ebpf_dns="", ebpf_tcp="")
BRIDGES = (
    Gap(Plane.TCP, "capture.interfaces.bridges"),
    Gap(Plane.DNS, "DNS over TCP of containers", is_whole=False),
)
TPROXY = (Gap(Plane.TCP, "capture.inbound.mode tproxy"),)
LISTED = (Gap(Plane.TCP, "dns.servers", is_apart=True),)


def test_auto_takes_ebpf_where_the_kernel_takes_its_programs() -> None:
    choice = choose("auto", "auto", KERNEL)
    assert (choice.tcp, choice.dns) == ("ebpf", "ebpf")
    assert choice.why == ("backend: ebpf [auto kernel=6.18.0 cgroup2=yes bytecode=v1 tc=yes]",)


def test_what_only_netfilter_can_do_leaves_dns_to_ebpf() -> None:
    choice = choose("auto", "auto", KERNEL, TPROXY)
    assert (choice.tcp, choice.dns) == ("nftables", "ebpf")
    assert choice.why[0].startswith("backend: nftables [auto ebpf=no (capture.inbound.mode tproxy)")
    assert choice.why[1].startswith("dns plane: ebpf [auto kernel=6.18.0")


def test_auto_does_not_take_the_plane_that_would_do_less_than_was_asked_for() -> None:
    choice = choose("auto", "auto", KERNEL, BRIDGES)
    assert (choice.tcp, choice.dns) == ("nftables", "nftables")


def test_who_names_ebpf_for_dns_is_told_what_it_leaves_out() -> None:
    choice = choose("auto", "ebpf", KERNEL, BRIDGES)
    assert (choice.tcp, choice.dns) == ("nftables", "ebpf")
    assert choice.why[-1] == "not captured by ebpf: DNS over TCP of containers"


@pytest.mark.parametrize(
    ("tcp", "dns", "gaps", "needs"),
    [
        ("ebpf", "auto", TPROXY, "tproxy"),
        ("ebpf", "nftables", BRIDGES, "bridges"),
        ("ebpf", "nftables", LISTED, "dns.servers"),
        ("auto", "ebpf", (Gap(Plane.DNS, "rule 4, another form"),), "another form"),
    ],
)
def test_a_plan_that_ebpf_cannot_follow_is_refused_by_name(
    tcp: str, dns: str, gaps: tuple[Gap, ...], needs: str
) -> None:
    with pytest.raises(Unsupported, match=needs):
        choose(tcp, dns, KERNEL, gaps)  # type: ignore[arg-type]


def test_a_list_of_resolvers_matters_only_while_the_planes_are_apart() -> None:
    assert choose("ebpf", "auto", KERNEL, LISTED).dns == "ebpf"
    assert choose("auto", "nftables", KERNEL, LISTED).tcp == "nftables"


def test_auto_takes_nftables_where_it_works() -> None:
    choice = choose("auto", "auto", FULL)
    assert (choice.tcp, choice.dns, choice.queue_by_iptables) == ("nftables", "nftables", False)
    assert choice.why == (
        "backend: nftables [auto ebpf=no (a kernel) kernel=6.1.0 nft=1.0.6 nft_queue=yes]",
    )


def test_a_kernel_without_nft_queue_gets_the_queue_by_iptables() -> None:
    choice = choose("auto", "auto", replace(FULL, nft_queue=False))
    assert choice.queue_by_iptables
    assert choice.why[1] == "dns plane: NFQUEUE by iptables-nft [nft_queue=no]"


def test_auto_falls_back_to_iptables_and_says_why() -> None:
    choice = choose("auto", "auto", replace(FULL, nft="", nft_works=False))
    assert choice.tcp == choice.dns == "iptables"
    assert choice.why == (
        "backend: iptables [auto ebpf=no (a kernel) kernel=6.1.0 nft=none (does not work)"
        " iptables=1.8.9 variant=nft (what iptables is here) ipset=7.17]",
    )


def test_planes_may_be_apart() -> None:
    choice = choose("nftables", "iptables", replace(FULL, nft_queue=False))
    assert (choice.tcp, choice.dns, choice.queue_by_iptables) == ("nftables", "iptables", False)
    assert choice.why[1].startswith("dns plane: iptables [asked-for")


@pytest.mark.parametrize(
    ("changes", "variant"),
    [
        ({}, "nft"),
        ({"default": "legacy"}, "legacy"),
        ({"rules_legacy": 3}, "legacy"),
        ({"rules_nft": 1, "rules_legacy": 3}, "nft"),
        ({"iptables_nft_works": False, "rules_nft": 1}, "legacy"),
        ({"iptables_legacy_works": False, "default": "legacy"}, "nft"),
        ({"default": ""}, "nft"),
    ],
)
def test_rules_go_where_the_others_rules_are(changes: dict[str, object], variant: str) -> None:
    assert choose("iptables", "auto", replace(FULL, **changes)).variant == variant  # type: ignore[arg-type]


def test_without_ipset_the_log_says_what_it_costs() -> None:
    choice = choose("iptables", "auto", replace(FULL, ipset="", ipset_works=False))
    assert not choice.ipset
    assert "one rule an element" in choice.why[-1]


@pytest.mark.parametrize(
    ("tcp", "dns", "changes", "needs"),
    [
        ("ebpf", "auto", {}, "a kernel"),
        ("auto", "ebpf", {}, "a kernel"),
        ("nftables", "auto", {"nft_works": False}, "nft 1.0"),
        (
            "iptables",
            "auto",
            {"iptables_nft_works": False, "iptables_legacy_works": False},
            "iptables",
        ),
        (
            "auto",
            "auto",
            {"nft_works": False, "iptables_nft_works": False, "iptables_legacy_works": False},
            "root",
        ),
        (
            "nftables",
            "auto",
            {"nft_queue": False, "iptables_nft_works": False, "iptables_legacy_works": False},
            "nft_queue",
        ),
        ("iptables", "nftables", {"nft_queue": False}, "nft_queue"),
    ],
)
def test_what_this_host_cannot_do_is_named(
    tcp: str, dns: str, changes: dict[str, object], needs: str
) -> None:
    with pytest.raises(Unsupported, match=needs):
        choose(tcp, dns, replace(FULL, **changes))  # type: ignore[arg-type]
