"""Who is reached where."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from interceptor.mesh.model import AppProtocol, Endpoint, Host, Kind, Port, Resolution
from interceptor.sidecar import claim
from interceptor.sidecar.claim import Claim, Vip

ADDRESS = ip_address("10.96.0.1")
VIP = Vip(ADDRESS, 80)
HTTP = Port("http", 80, AppProtocol.HTTP)
TCP = Port("tcp", 80)


def test_a_listener_is_named_as_istio_names_it() -> None:
    assert VIP.name == "10.96.0.1_80"
    assert Vip(ip_address("2001:2::1"), 80).name == "2001:2::1_80"


def test_a_headless_service_is_reached_where_its_ready_endpoints_listen() -> None:
    host = Host(
        "db.ns.svc.cluster.local", "ns", Kind.HEADLESS, (ADDRESS,), (Port("db", 3306),),
        (
            Endpoint(ADDRESS, (("db", 3307),)),
            Endpoint(ip_address("10.96.0.2"), ready=False),
        ),
    )  # fmt: skip
    assert set(claim.choose(host)) == {Vip(ADDRESS, 3306), Vip(ADDRESS, 3307)}


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("a.ns.svc.cluster.local", ["a.ns.svc.cluster.local", "a.ns.svc", "a.ns", "a"]),
        ("a.other.svc.cluster.local", ["a.other.svc.cluster.local", "a.other.svc", "a.other"]),
        ("x.a.ns.svc.cluster.local", ["x.a.ns.svc.cluster.local"]),
        ("api.example.com", ["api.example.com"]),
        ("*.example.com", ["*.example.com"]),
    ],
)
def test_a_host_goes_by_its_short_names_too(name: str, names: list[str]) -> None:
    host = Host(name, "ns", Kind.SERVICE_ENTRY)
    assert claim.names(host, "ns", "cluster.local") == names


def test_extra_names_count() -> None:
    host = Host("a.com", "ns", Kind.NAME_TABLE, extra_names=("b.com", "a.com"))
    assert claim.names(host, "ns", "cluster.local") == ["a.com", "b.com"]


def test_http_hosts_share_an_address_and_tcp_hosts_do_not() -> None:
    first, second, third = Claim("a", HTTP), Claim("b", HTTP), Claim("c", TCP)
    sharing, conflicts = claim.settle(VIP, [third, second, first])
    assert sharing == [first, second]
    assert [(item.winner, item.loser) for item in conflicts] == [("a", "c")]
    sharing, conflicts = claim.settle(VIP, [Claim("c", HTTP), Claim("a", TCP)])
    assert [item.host for item in sharing] == ["a"]
    assert [item.loser for item in conflicts] == ["c"]


def test_a_wildcard_that_would_have_to_be_resolved_is_not_served() -> None:
    host = Host(
        "*.example.com", "ns", Kind.SERVICE_ENTRY, (ADDRESS,), (HTTP,), resolution=Resolution.DNS
    )
    assert not claim.is_served(host)
