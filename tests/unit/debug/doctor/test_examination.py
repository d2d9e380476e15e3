"""All rules over all facts."""

from __future__ import annotations

from interceptor import config
from interceptor.debug.doctor import examination
from interceptor.debug.doctor.check import Group
from interceptor.debug.doctor.fact import Facts


def test_facts_of_nothing_can_be_judged() -> None:
    found = examination.decide(Facts(), config.parse(""))
    order = [list(Group).index(check.group) for check in found]
    assert order == sorted(order)
    assert set(Group) - {check.group for check in found} == {Group.SELF_TEST}


def test_only_the_groups_that_were_asked_for_are_told() -> None:
    found = examination.decide(Facts(), config.parse(""), {Group.NETWORK, Group.PORTS})
    assert {check.group for check in found} == {Group.NETWORK, Group.PORTS}
