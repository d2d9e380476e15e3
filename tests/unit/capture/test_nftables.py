"""The nftables back end without a kernel: what it would run, and what it expects to see."""

from __future__ import annotations

import json
from typing import Any

from interceptor.capture.journal import Journal
from interceptor.capture.nftables import Nftables


def test_a_transaction_is_json_and_undone_by_deleting_the_table(make: Any) -> None:
    (step,) = Nftables(Journal()).render(make("default"))
    assert step.do.argv == ("nft", "-j", "-f", "-")
    assert json.loads(step.do.stdin or "")["nftables"][0] == {
        "add": {"table": {"family": "inet", "name": "interceptor"}}
    }
    assert step.undo[0].argv == ("nft", "delete", "table", "inet", "interceptor")


def test_a_table_with_cgroups_is_given_as_text(make: Any) -> None:
    (step,) = Nftables(Journal()).render(make("include_owners"))
    assert step.do.argv == ("nft", "-f", "-")
    assert 'socket cgroupv2 level 2 "system.slice/chrony.service"' in (step.do.stdin or "")


def test_a_plan_of_nothing_is_no_step(make: Any) -> None:
    backend = Nftables(Journal())
    assert backend.render(make("nothing")) == ()
    assert backend.expected(make("nothing")) == ""
    assert Nftables(Journal(), queue=False).text(make("dns_only")).count("queue_output") == 0


def test_expected_and_text_tell_of_the_same_rules(make: Any, shape: str) -> None:
    backend = Nftables(Journal())
    plan = make(shape)
    assert backend.text(plan).count("\nadd rule") == backend.expected(plan).count('"rule"')
