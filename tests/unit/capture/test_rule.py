"""The vocabulary of rules."""

from __future__ import annotations

from ipaddress import ip_network

from interceptor.capture.rule import (
    Cgroup,
    Destination,
    Hook,
    Interface,
    Owner,
    OwnerKind,
    Port,
    Rule,
    Source,
    Verdict,
    describe,
    narrowed,
)

FOUR, SIX = ip_network("10.0.0.0/8"), ip_network("fd00::/8")


def test_a_family_sees_its_own_networks_alone() -> None:
    assert narrowed((Destination((FOUR, SIX)),), 4) == (Destination((FOUR,)),)
    assert narrowed((Source((FOUR, SIX), negate=True),), 6) == (Source((SIX,), negate=True),)


def test_what_can_never_hold_in_a_family_is_no_rule_there() -> None:
    assert narrowed((Destination((FOUR,)),), 6) is None


def test_what_always_holds_in_a_family_is_no_condition_there() -> None:
    assert narrowed((Destination((FOUR,), negate=True), Port((1,))), 6) == (Port((1,)),)


def test_a_rule_is_told_in_words() -> None:
    conditions = (Interface(("lo",)), Owner(OwnerKind.UID, (5, 6), True), Cgroup(("a/b",)))
    rule = Rule(4, Hook.OUTPUT, Verdict.PASS, "because", conditions, "tcp")
    assert describe(rule) == "output tcp: interface lo, uid not 5 6, cgroup a/b -> pass"
    assert (
        describe(Rule(9, Hook.OUTPUT, Verdict.PASS, "")) == "output tcp+udp: anything else -> pass"
    )
