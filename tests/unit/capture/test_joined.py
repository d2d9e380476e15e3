"""Back ends side by side."""

from __future__ import annotations

import os
from typing import Any

import pytest

from interceptor.capture import joined
from interceptor.capture.backend import Choice
from interceptor.capture.journal import Journal


def programs(choice: Choice, plan: Any) -> list[str]:
    steps = joined.build(choice, Journal()).render(plan)
    return [step.do.argv[0] for step in steps if step.do.argv[0] != "ip"]


def test_nftables_alone_needs_one_transaction(make: Any) -> None:
    assert programs(Choice("nftables", "nftables"), make("default")) == ["nft"]


def test_the_queue_is_iptables_where_nftables_has_none(make: Any) -> None:
    choice = Choice("nftables", "nftables", "legacy", False, True)
    assert programs(choice, make("default")) == [
        "nft",
        "iptables-legacy-restore",
        "ip6tables-legacy-restore",
    ]


def test_planes_apart_share_nothing_but_the_routes(make: Any) -> None:
    both = joined.build(Choice("nftables", "iptables", "nft", True), Journal())
    assert both.name == "nftables+iptables"
    steps = both.render(make("everything"))
    nft = next(step for step in steps if step.do.argv[0] == "nft")
    assert "queue" not in (nft.do.stdin or "")
    iptables = "".join(step.do.stdin or "" for step in steps if "restore" in step.do.argv[0])
    assert "--to-ports 15053" in iptables
    assert "--to-ports 15001" not in iptables
    routes = [step for step in steps if step.do.argv[0] == "ip"]
    assert len(routes) == len({step.do.argv for step in routes}) > 0


def test_what_is_expected_is_what_all_of_them_expect(make: Any) -> None:
    expected = joined.build(Choice("nftables", "nftables", "nft", True, True), Journal()).expected(
        make("default")
    )
    assert "ip -6 route local ::6/128" in expected
    assert '"chain": "nat_output"' in expected
    assert "-j NFQUEUE --queue-num 15053 --queue-bypass" in expected


def route_lines(choice: Choice, plan: Any) -> list[str]:
    steps = joined.build(choice, Journal()).render(plan)
    return [" ".join(step.do.argv[3:]) for step in steps if step.do.argv[0] == "ip"]


def test_ebpf_rewrites_before_routing_and_needs_no_route_to_a_vip(make: Any) -> None:
    lines = route_lines(Choice("ebpf", "ebpf"), make("default"))
    assert lines == [
        "add local ::6/128 dev lo proto 157",
        *(f"add local 127.{part}.0.0/10 dev lo src 10.0.0.2 proto 157" for part in (64, 128, 192)),
        "add local fdc8:3d1f:62a7::/48 dev lo src fd10::2 proto 157",
    ]


def test_ebpf_beside_another_for_tcp_leaves_it_its_routes(make: Any) -> None:
    both = joined.build(Choice("nftables", "ebpf"), Journal())
    assert both.names == ("routes", "nftables", "ebpf")
    lines = route_lines(Choice("nftables", "ebpf"), make("default"))
    assert any("240.240.0.0/16" in line for line in lines)
    assert any("127.192.0.0/10" in line for line in lines)
    assert not any(
        "127.64.0.0/10" in line
        for line in route_lines(Choice("nftables", "nftables"), make("default"))
    )


def test_ebpf_without_a_plane_adds_nothing(make: Any) -> None:
    assert joined.build(Choice("ebpf", "ebpf"), Journal()).render(make("dns_only"))
    assert not any("127." in line for line in route_lines(Choice("ebpf", "ebpf"), make("nothing")))


@pytest.mark.parametrize(
    ("choice", "count"),
    [
        (Choice("nftables", "ebpf"), 2),
        (Choice("ebpf", "ebpf"), 1),
        (Choice("nftables", "nftables"), 1),
        (Choice("iptables", "iptables", variant="nft"), 1),
    ],
)
def test_each_part_that_is_told_of_changes_tells_by_itself(choice: Choice, count: int) -> None:
    descriptors = joined.build(choice, Journal()).events()
    for descriptor in descriptors:
        os.close(descriptor)
    assert len(descriptors) == count


def test_before_anything_is_installed_nothing_is_amiss() -> None:
    for choice in (Choice("ebpf", "ebpf"), Choice("iptables", "iptables", "legacy", ipset=True)):
        assert not joined.build(choice, Journal()).is_amiss()
