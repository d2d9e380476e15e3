"""What others' rules do with one packet, and how sure that is."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from interceptor.debug.doctor import packet
from interceptor.debug.doctor.packet import Chain, Match, Packet, Rule, Ruleset

CALL = Packet("tcp", ip_address("10.0.0.1"), ip_address("10.96.0.1"), 40000, 80, "eth0")


def chain(*rules: Rule, policy: str = "accept", name: str = "out", hook: str = "output") -> Chain:
    return Chain("nft inet f", name, (4, 6), hook, policy=policy, rules=rules)


def fates(*chains: Chain, of: Packet = CALL) -> list[tuple[str, bool]]:
    ruleset = Ruleset({(each.table, each.name): each for each in chains})
    return [(f.verdict, f.certain) for f in packet.judge(ruleset, chains[0], of)]


def rule(verdict: str, *matches: tuple[str, str], target: str = "") -> Rule:
    return Rule(tuple(Match(key, (value,)) for key, value in matches), verdict, target)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("protocol", "tcp", True),
        ("protocol", "6", True),
        ("protocol", "udp", False),
        ("daddr", "10.96.0.0/16", True),
        ("daddr", "10.97.0.0/16", False),
        ("daddr", "10.95.0.0-10.96.0.9", True),
        ("daddr", "2001:db8::/32", False),
        ("daddr", "not-an-address", None),
        ("saddr", "10.0.0.1", True),
        ("dport", "80", True),
        ("dport", "79-81", True),
        ("dport", "443", False),
        ("dport", "http", None),
        ("sport", "40000", True),
        ("device", "eth0", True),
        ("device", "eth*", True),
        ("device", "eth+", True),
        ("device", "lo", False),
        ("uid", "0", True),
        ("uid", "1337", False),
        ("state", "new", True),
        ("state", "established", False),
        ("status", "dnat", False),
        ("?", "whatever", None),
    ],
)
def test_a_condition_is_true_false_or_not_understood(
    key: str, value: str, expected: bool | None
) -> None:
    assert packet.holds(Match(key, (value,)), CALL) is expected
    opposite = None if expected is None else not expected
    assert packet.holds(Match(key, (value,), negated=True), CALL) is opposite


def test_a_packet_that_was_translated_is_known_as_such() -> None:
    assert packet.holds(Match("status", ("dnat",)), replace(CALL, translated=True)) is True


def test_whose_packet_it_is_is_not_known_on_its_way_in() -> None:
    assert packet.holds(Match("uid", ("0",)), replace(CALL, uid=None)) is None


def test_the_first_rule_that_applies_decides() -> None:
    rules = rule("drop", ("dport", "22")), rule("accept", ("dport", "80")), rule("reject")
    assert fates(chain(*rules)) == [("accept", True)]


def test_without_a_rule_the_policy_decides() -> None:
    assert fates(chain(rule("accept", ("dport", "22")), policy="drop")) == [("drop", True)]


def test_a_rule_that_is_not_understood_may_apply() -> None:
    assert fates(chain(rule("drop", ("?", "x")), rule("accept"))) == [
        ("drop", False),
        ("accept", True),
    ]


def test_chains_are_followed_and_left_again() -> None:
    below = chain(rule("return", ("dport", "80")), rule("drop"), name="below", hook="")
    assert fates(chain(rule("jump", target="below"), rule("reject")), below) == [("reject", True)]
    assert fates(chain(rule("goto", target="below"), rule("reject")), below) == [("accept", True)]


def test_what_stands_behind_an_uncertain_jump_is_uncertain() -> None:
    below = chain(rule("drop"), name="below", hook="")
    found = fates(chain(rule("jump", ("?", "x"), target="below")), below)
    assert found == [("drop", False), ("accept", True)]


def test_chains_that_jump_in_circles_end() -> None:
    one = chain(rule("jump", target="out"))
    assert fates(one)[-1] == ("accept", True)


def test_base_chains_come_in_the_order_of_their_priorities() -> None:
    late = replace(chain(name="late"), priority=0)
    early = replace(chain(name="early"), priority=-100, versions=(4,))
    ruleset = Ruleset({(each.table, each.name): each for each in (late, early)})
    assert [each.name for each in ruleset.bases("output", 4)] == ["early", "late"]
    assert [each.name for each in ruleset.bases("output", 6)] == ["late"]
