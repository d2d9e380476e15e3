"""What hinders the rule that decides, and when nothing does."""

from __future__ import annotations

from dataclasses import replace

from interceptor.debug import hindrance
from interceptor.debug.case import Case, Connected, Entry, Installed, Obstacle, Probe
from interceptor.debug.finding import Cause
from tests.unit.debug import sick

MISSED = Probe(connection=Connected("10.96.0.11:9080", "timeout"), before=3, after=3)


def causes(case: Case) -> list[Cause]:
    return [finding.cause for finding in hindrance.diagnose(case)]


def test_a_call_that_is_well_gives_no_finding() -> None:
    assert causes(sick.case()) == []


def test_a_rule_that_is_not_there_is_told() -> None:
    assert causes(sick.case(installed=Installed("nftables"))) == [Cause.NOT_INSTALLED]


def test_a_rule_of_others_that_takes_the_flow_is_a_firewall() -> None:
    drop = Obstacle("output -200", "tcp dport 9080 drop", "drop", "firewalld", matches=True)
    assert causes(sick.case(obstacles=(drop,))) == [Cause.FIREWALL]
    assert causes(sick.case(obstacles=(replace(drop, matches=False),))) == []


def test_a_rule_that_is_not_understood_is_blamed_only_when_ours_saw_nothing() -> None:
    some = Obstacle("output -200", "xt match", "drop", matches=None)
    assert causes(sick.case(obstacles=(some,))) == []
    assert causes(sick.case(obstacles=(some,), probe=MISSED)) == [Cause.FIREWALL]
    seen = replace(MISSED, after=4)
    assert causes(sick.case(obstacles=(some,), probe=seen)) == []


def test_a_bound_socket_is_lost_but_for_programs_and_root() -> None:
    for backend, uid, expected in (
        ("nftables", 0, [Cause.BOUND_DEVICE]),
        ("ebpf", 1000, [Cause.BOUND_DEVICE]),
        ("ebpf", 0, []),
    ):
        made = sick.case(uid=uid, installed=Installed(backend, (Entry("x"),)))
        assert causes(replace(made, asked=replace(made.asked, device="eth0"))) == expected
        assert causes(replace(made, asked=replace(made.asked, device="lo"))) == []
