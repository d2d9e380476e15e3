"""Whom the services of this VM take."""

from __future__ import annotations

from interceptor.mesh.policy import PLAIN, Mode, Policy


def test_a_port_of_its_own_beats_the_mode_of_all() -> None:
    policy = Policy(Mode.STRICT, ((8080, Mode.DISABLE),))
    assert policy.of(8080) is Mode.DISABLE
    assert policy.of(3306) is Mode.STRICT


def test_without_a_policy_nobody_is_asked_for_a_certificate() -> None:
    assert PLAIN.of(80) is Mode.DISABLE
