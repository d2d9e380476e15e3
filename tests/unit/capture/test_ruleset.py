"""The nftables table of every shape."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

from interceptor.capture import nfttext, ruleset
from interceptor.capture.section import sections


@pytest.mark.parametrize("queue", [True, False])
def test_each_shape_has_its_table(make: Any, shape: str, queue: bool, golden: Any) -> None:
    text = nfttext.text(ruleset.render(make(shape), queue))
    golden(f"nftables_{shape}{'' if queue else '_without_queue'}.txt", text)


def test_the_table_is_replaced_in_one_transaction(make: Any) -> None:
    verbs = [next(iter(command)) for command in ruleset.render(make("default"))]
    assert verbs[:3] == ["add", "delete", "add"]
    assert set(verbs[3:]) == {"add"}


def test_sets_are_those_that_a_rule_looks_into(make: Any) -> None:
    plan = make("dns_only")
    assert [name.value for name in ruleset.set_names(plan, sections(plan))] == ["dns"]
    released = make("default").released()
    assert [name.value for name in ruleset.set_names(released, sections(released))] == ["outbound"]


def test_an_exchange_takes_out_before_it_puts_in() -> None:
    commands = ruleset.exchange("outbound4", [ip_network("10.0.0.1")], [ip_network("10.0.0.0/24")])
    assert nfttext.text(commands) == (
        "delete element inet interceptor outbound4 { 10.0.0.1 }\n"
        "add element inet interceptor outbound4 { 10.0.0.0/24 }\n"
    )
    assert ruleset.exchange("outbound4", [], []) == ()
