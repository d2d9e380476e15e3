"""The iptables back end without a kernel: what it would run."""

from __future__ import annotations

from typing import Any

import pytest

from interceptor.capture.iptables import Iptables
from interceptor.capture.journal import Journal


def test_sets_come_before_the_rules_that_look_into_them(make: Any) -> None:
    steps = Iptables("nft", Journal()).render(make("default"))
    assert [step.do.argv[0] for step in steps] == [
        "ipset",
        "iptables-nft-restore",
        "ip6tables-nft-restore",
    ]
    assert all(step.undo for step in steps)


def test_legacy_leaves_no_markers_since_its_tables_stay(make: Any) -> None:
    nft = Iptables("nft", Journal(), ipset=False).render(make("default"))
    legacy = Iptables("legacy", Journal(), ipset=False).render(make("default"))
    assert "INTERCEPTOR_NEW_" in (nft[0].do.stdin or "")
    assert "INTERCEPTOR_NEW_" not in (legacy[0].do.stdin or "")


def test_as_the_queue_of_nftables_it_touches_mangle_alone(make: Any) -> None:
    steps = Iptables("nft", Journal(), queue_only=True).render(make("everything"))
    texts = "".join(step.do.stdin or "" for step in steps)
    assert "*mangle" in texts
    assert "*nat" not in texts
    assert "interceptor_outbound" not in texts
    assert "interceptor_dns4" in texts


def test_an_update_needs_a_plan_first() -> None:
    with pytest.raises(RuntimeError, match="update before apply"):
        Iptables("nft", Journal()).update([])
