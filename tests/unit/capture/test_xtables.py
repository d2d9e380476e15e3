"""The chains of iptables."""

from __future__ import annotations

from typing import Any

import pytest

from interceptor.capture import xtables

TRANSPARENT = ["INTERCEPTOR_TPROXY", "INTERCEPTOR_REPLY", "INTERCEPTOR_DIVERT", "INTERCEPTOR_KEEP"]


@pytest.mark.parametrize("version", [4, 6])
def test_only_tproxy_marks_packets(make: Any, shape: str, version: int) -> None:
    plan = make(shape)
    names = [chain.name for chain in xtables.render(plan, version)]
    found = [name for name in names if name in TRANSPARENT]
    assert found == (TRANSPARENT if plan.steering.tproxy else [])


@pytest.mark.parametrize("version", [4, 6])
def test_a_connection_of_envoy_is_marked_before_anything_else_accepts_its_packets(
    make: Any, version: int
) -> None:
    """The jumps to the last chain stand first."""
    chains = xtables.render(make("tproxy_all_outbound"), version)
    arriving = [c.name for c in chains if (c.table, c.hook) == ("mangle", "PREROUTING")]
    assert arriving[-2:] == ["INTERCEPTOR_DIVERT", "INTERCEPTOR_KEEP"]
    assert not any("ACCEPT" in rule for rule in chains[-1].rules)


def test_chains_are_put_into_the_order_in_which_they_were_rendered(make: Any, shape: str) -> None:
    chains = list(xtables.render(make(shape), 4))
    assert xtables.in_order(reversed(chains)) == chains


def test_a_family_that_the_plan_lacks_has_no_chains(make: Any) -> None:
    assert xtables.render(make("tcp_only_ipv4"), 6) == ()
