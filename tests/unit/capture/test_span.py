"""Arithmetic on networks, held against counting addresses one by one."""

from __future__ import annotations

from ipaddress import IPv4Network, ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from interceptor.capture import span

SMALL = st.builds(
    lambda start, length: ip_network((0x0A000000 + start, length), strict=False),
    st.integers(0, 255),
    st.integers(24, 32),
)
PLACES = st.one_of(SMALL, st.integers(0, 255).map(lambda i: ip_address(0x0A000000 + i)))


def every(networks: list[object] | tuple[object, ...]) -> list[int]:
    found: list[int] = []
    for network in networks:
        whole = ip_network(str(network))
        found += range(int(whole.network_address), int(whole.broadcast_address) + 1)
    return found


@given(st.lists(SMALL, max_size=4), st.lists(PLACES, max_size=8))
def test_what_is_left_covers_the_rest_exactly_once(
    fixed: list[IPv4Network], places: list[object]
) -> None:
    known = span.collapse(fixed)
    left = span.uncovered(known, places, (4,))  # type: ignore[arg-type]
    counted = every([*known, *left])
    assert sorted(counted) == sorted(set(every(fixed)) | set(every(places)))


@given(st.lists(SMALL, max_size=6), st.integers(0, 300))
def test_contains_is_membership(networks: list[IPv4Network], offset: int) -> None:
    address = ip_address(0x0A000000 + offset)
    merged = span.collapse(networks)
    assert span.contains(merged, address) is any(address in network for network in networks)


def test_a_family_that_is_off_leaves_nothing() -> None:
    assert span.uncovered((), [ip_address("fd00::1"), ip_network("fd00::/8")], (4,)) == ()


def test_neighbours_stay_single_so_that_one_change_is_one_element() -> None:
    places = [ip_address("10.0.0.2"), ip_address("10.0.0.3")]
    assert len(span.uncovered((), places, (4, 6))) == 2


def test_halves_are_for_the_whole_alone() -> None:
    assert len(span.halves(ip_network("::/0"))) == 2
    assert span.halves(ip_network("10.0.0.0/8")) == (ip_network("10.0.0.0/8"),)
