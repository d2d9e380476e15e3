"""What a difference between two listings is told as."""

from __future__ import annotations

import json

import pytest

from interceptor.capture import drift
from interceptor.capture.drift import Cause


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("ip -4 route unicast 240.240.0.0/16 dev lo src 10.0.0.2 proto 157", Cause.ROUTES),
        ("ip -6 rule fwmark 0x1dc2 lookup 15006 protocol 157", Cause.ROUTING_RULES),
        ('{"table": {"family": "inet", "name": "interceptor"}}', Cause.RULES),
        ('{"set": {"name": "outbound4"}}', Cause.SETS),
        ('{"rule": {"chain": "nat_output"}}', Cause.RULES),
        ("*nat", Cause.RULES),
        ("-A INTERCEPTOR_OUTPUT -j RETURN", Cause.RULES),
        ("# IPv6", Cause.RULES),
        ("set interceptor_outbound4", Cause.SETS),
        ("add interceptor_outbound4 10.0.0.0/8", Cause.SETS),
        ("ebpf filter eth0 egress dns_egress", Cause.FILTERS),
        ("ebpf policy 00ff", Cause.POLICY),
        ("ebpf map state is not pinned", Cause.PINS),
        ("ebpf pins of layout 3", Cause.PINS),
    ],
)
def test_each_line_has_its_cause(line: str, cause: Cause) -> None:
    assert drift.diff("", f"{line}\n").causes == {cause}
    assert drift.diff(f"{line}\n", "").causes == {cause}


def test_a_link_without_its_pin_is_told_from_one_that_runs_another_program() -> None:
    wanted = "ebpf link connect4 on the captured cgroup\n"
    assert drift.diff("", wanted).causes == {Cause.PINS}
    other = "ebpf link connect4 on the captured cgroup, another program\n"
    assert drift.diff(other, wanted).causes == {Cause.PROGRAMS}


def test_another_order_is_a_change_of_rules() -> None:
    found = drift.diff("*nat\n-A X -j B\n-A X -j A\n", "*nat\n-A X -j A\n-A X -j B\n")
    assert found.causes == {Cause.RULES}
    assert found.text() == "rules: in another order"


def test_the_line_for_people_names_the_first_and_counts_the_rest() -> None:
    rule = {"chain": "nat_output", "expr": [{"match": {}}] * 40, "comment": "7: mesh addresses"}
    wanted = "".join(f"{json.dumps({'rule': rule})}\n" for _ in range(5))
    wanted += "ip -6 route local ::6/128 dev lo proto 157\n"
    text = drift.diff("", wanted).text()
    assert text == (
        "rules: missing rule nat_output 7: mesh addresses, rule nat_output 7: mesh addresses"
        " and 3 more; routes: missing ip -6 route local ::6/128 dev lo proto 157"
    )


def test_other_words_for_the_same_are_told_from_what_is_missing() -> None:
    assert drift.diff("-A X -m mark --mark 0x1\n", "-A X -m mark --mark 1\n").is_wording
    assert not drift.diff("", "-A X -m mark --mark 1\n").is_wording
    ours, other = (
        "ebpf filter lo egress dns_lo\n",
        "ebpf filter lo egress dns_lo, another program\n",
    )
    assert not drift.diff(other, ours).is_wording
