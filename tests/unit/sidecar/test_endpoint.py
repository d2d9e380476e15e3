"""Endpoints as load assignments."""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from interceptor.mesh.model import Endpoint, Host, Kind, Port
from interceptor.sidecar import endpoint

PORT = Port("http", 80)


def place(last: int, **more: object) -> Endpoint:
    return Endpoint(ip_address(f"192.0.2.{last}"), **more)  # type: ignore[arg-type]


def shares(*endpoints: Endpoint) -> dict[str, int]:
    host = Host("a", "ns", Kind.SERVICE, endpoints=endpoints)
    made = endpoint.build("outbound|80||a", host, PORT)
    return {
        member.endpoint.address.socket_address.address: member.load_balancing_weight.value
        for group in made.endpoints
        for member in group.lb_endpoints
    }


def test_weights_are_kept_and_none_counts_as_one() -> None:
    assert shares(place(1, weight=80), place(2)) == {"192.0.2.1": 80, "192.0.2.2": 1}


def test_what_is_not_ready_or_a_name_or_there_twice_is_left_out() -> None:
    assert shares(place(1), place(1, weight=5), place(2, ready=False), Endpoint("a.b")) == {
        "192.0.2.1": 1
    }


def test_a_locality_weighs_what_its_endpoints_weigh() -> None:
    host = Host(
        "a", "ns", Kind.SERVICE,
        endpoints=(
            place(1, weight=3, locality="eu/eu-1"),
            place(2, weight=4, locality="eu/eu-1"),
            place(3, locality="us"),
        ),
    )  # fmt: skip
    groups = endpoint.build("x", host, PORT).endpoints
    found = [
        (group.locality.region, group.locality.zone, group.load_balancing_weight.value)
        for group in groups
    ]
    assert found == [("eu", "eu-1", 7), ("us", "", 1)]


@given(st.permutations([place(number, locality=str(number % 2)) for number in range(5)]))
def test_order_does_not_matter(endpoints: list[Endpoint]) -> None:
    host = Host("a", "ns", Kind.SERVICE, endpoints=tuple(endpoints))
    first = endpoint.build("x", host, PORT)
    ordered = Host("a", "ns", Kind.SERVICE, endpoints=tuple(sorted(endpoints, key=str)))
    assert first == endpoint.build("x", ordered, PORT)


def test_an_absurd_weight_stays_within_what_envoy_takes() -> None:
    assert shares(place(1, weight=2**40)) == {"192.0.2.1": endpoint.WEIGHT_LIMIT}


GATEWAYS = ((ip_address("198.51.100.1"), 15443), (ip_address("198.51.100.2"), 15443))


def dialled(*endpoints: Endpoint, is_secure: bool = True) -> dict[tuple[str, int], int]:
    host = Host("a", "ns", Kind.SERVICE, endpoints=endpoints)
    made = endpoint.build("outbound|80||a", host, PORT, is_secure=is_secure)
    return {
        (place.address, place.port_value): member.load_balancing_weight.value
        for group in made.endpoints
        for member in group.lb_endpoints
        for place in [member.endpoint.address.socket_address]
    }


def far(last: int, count: int = 1, **more: object) -> Endpoint:
    return place(last, network="far", gateways=GATEWAYS[:count], identity="ns/a/sa/b", **more)


def test_a_gateway_weighs_what_is_behind_it() -> None:
    assert dialled(place(1, weight=3), far(2, weight=5), far(3), far(4, ready=False)) == {
        ("192.0.2.1", 80): 3,
        ("198.51.100.1", 15443): 6,
    }


def test_several_gateways_share_and_no_part_is_lost() -> None:
    found = dialled(place(1), far(2, 2), far(3, 2), far(4, 1, locality="a/b"))
    assert found == {
        ("192.0.2.1", 80): 2,
        ("198.51.100.1", 15443): 4,
        ("198.51.100.2", 15443): 2,
    }


def test_what_speaks_no_mutual_tls_is_not_called_through_a_gateway() -> None:
    plain = place(2, network="far", gateways=GATEWAYS)
    assert dialled(place(1), plain) == {("192.0.2.1", 80): 2}
    assert dialled(place(1), far(2), is_secure=False) == {("192.0.2.1", 80): 1}
    assert dialled(plain) == {}
