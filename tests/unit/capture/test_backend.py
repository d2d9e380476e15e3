"""The choice of a back end: pure, and every choice says why."""

from __future__ import annotations

from dataclasses import replace

import pytest

from interceptor.capture.backend import Support, choose
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
)


def test_auto_takes_nftables_where_it_works() -> None:
    choice = choose("auto", "auto", FULL)
    assert (choice.tcp, choice.dns, choice.queue_by_iptables) == ("nftables", "nftables", False)
    assert choice.why == (
        "backend: nftables [auto ebpf=not-yet kernel=6.1.0 nft=1.0.6 nft_queue=yes]",
    )


def test_a_kernel_without_nft_queue_gets_the_queue_by_iptables() -> None:
    choice = choose("auto", "auto", replace(FULL, nft_queue=False))
    assert choice.queue_by_iptables
    assert choice.why[1] == "dns plane: NFQUEUE by iptables-nft [nft_queue=no]"


def test_auto_falls_back_to_iptables_and_says_why() -> None:
    choice = choose("auto", "auto", replace(FULL, nft="", nft_works=False))
    assert choice.tcp == choice.dns == "iptables"
    assert choice.why == (
        "backend: iptables [auto ebpf=not-yet kernel=6.1.0 nft=none (does not work)"
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
        ("ebpf", "auto", {}, "ebpf back end"),
        ("auto", "ebpf", {}, "ebpf back end"),
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
