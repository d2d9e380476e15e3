"""Whom the services of this VM take."""

from __future__ import annotations

import pytest

from interceptor.mesh import policy
from interceptor.mesh.policy import PLAIN, Mode, PeerAuthentication, Policy

MINE = (("app", "web"), ("tier", "front"))
STRICT, PERMISSIVE, DISABLE = Mode.STRICT, Mode.PERMISSIVE, Mode.DISABLE


def said(
    namespace: str,
    mode: Mode | None,
    *selector: tuple[str, str],
    name: str = "default",
    ports: tuple[tuple[int, Mode | None], ...] = (),
) -> PeerAuthentication:
    return PeerAuthentication(name, namespace, "f", selector, mode, ports)


def decided(*found: PeerAuthentication) -> Policy:
    return policy.decide(found, "vm", MINE, PERMISSIVE)


def test_a_port_of_its_own_beats_the_mode_of_all() -> None:
    made = Policy(STRICT, ((8080, DISABLE),))
    assert made.of(8080) is DISABLE
    assert made.of(3306) is STRICT


def test_without_a_policy_nobody_is_asked_for_a_certificate() -> None:
    assert PLAIN.of(80) is DISABLE


def test_without_documents_the_configuration_counts() -> None:
    assert decided() == Policy(PERMISSIVE)
    assert decided(said("elsewhere", STRICT)) == Policy(PERMISSIVE)


def test_the_nearest_document_that_says_something_counts() -> None:
    root = said("istio-system", STRICT)
    wide = said("vm", DISABLE)
    mine = said("vm", PERMISSIVE, ("app", "web"))
    other = said("vm", STRICT, ("app", "db"))
    assert decided(root).mode is STRICT
    assert decided(root, wide).mode is DISABLE
    assert decided(root, wide, mine, other).mode is PERMISSIVE
    assert decided(root, said("vm", None)).mode is STRICT, "unset: ask the next one"
    assert decided(said("vm", None, ("app", "web"))).mode is PERMISSIVE


def test_a_selector_of_the_root_namespace_picks_nobody_here() -> None:
    assert decided(said("istio-system", STRICT, ("app", "web"))).mode is PERMISSIVE


def test_of_several_alike_the_first_by_name_counts_in_any_order() -> None:
    first, second = said("vm", STRICT, name="a"), said("vm", DISABLE, name="b")
    assert decided(first, second) == decided(second, first) == Policy(STRICT)


@pytest.mark.parametrize(
    ("ports", "expected"),
    [
        (((9000, DISABLE), (80, PERMISSIVE)), ((80, PERMISSIVE), (9000, DISABLE))),
        (((80, None), (81, STRICT)), ()),
    ],
)
def test_ports_that_differ_are_kept(
    ports: tuple[tuple[int, Mode | None], ...], expected: tuple[tuple[int, Mode], ...]
) -> None:
    made = decided(said("vm", STRICT, ("app", "web"), ports=ports))
    assert made == Policy(STRICT, expected)
