"""Back ends side by side."""

from __future__ import annotations

from typing import Any

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
