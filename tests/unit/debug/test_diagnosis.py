"""Causes come in the order of the chain."""

from __future__ import annotations

from dataclasses import replace

from interceptor.debug import diagnosis
from interceptor.debug.case import Obstacle, Resolver
from interceptor.debug.finding import Cause
from tests.unit.debug import sick


def test_a_call_that_is_well_gives_no_finding() -> None:
    assert diagnosis.diagnose(sick.case()) == ()


def test_of_several_causes_the_one_to_mend_first_comes_first() -> None:
    made = sick.case(
        replace(sick.REVIEWS, endpoints=()),
        resolver=Resolver(encrypted=("x",)),
        obstacles=(Obstacle("output", "drop", "drop", matches=True),),
    )
    found = [finding.cause for finding in diagnosis.diagnose(made)]
    assert found == [Cause.ENCRYPTED_DNS, Cause.FIREWALL, Cause.NO_ENDPOINT]
