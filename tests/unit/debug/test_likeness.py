"""What people mistype, and what only looks alike."""

from __future__ import annotations

import pytest

from interceptor.debug import likeness
from interceptor.mesh.model import Host, Kind, Locale

LOCALE = Locale(namespace="vm", search=("corp.example",))
HOSTS = (
    Host("reviews.bookinfo.svc.cluster.local", "bookinfo", Kind.SERVICE),
    Host("ratings.bookinfo.svc.cluster.local", "bookinfo", Kind.SERVICE),
    Host("mysql.vm.svc.cluster.local", "vm", Kind.SERVICE),
    Host("api.partner.example", "bookinfo", Kind.SERVICE_ENTRY),
)


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("reveiws.bookinfo", "reviews.bookinfo.svc.cluster.local"),
        ("reviews.bokinfo.svc.cluster.local", "reviews.bookinfo.svc.cluster.local"),
        ("reviews.bookinfo.cluster.local", "reviews.bookinfo.svc.cluster.local"),
        ("mysq", "mysql.vm.svc.cluster.local"),
        ("mysqll.corp.example", "mysql.vm.svc.cluster.local"),
        ("api.partners.example", "api.partner.example"),
    ],
)
def test_a_slip_is_traced_to_the_name_that_was_meant(asked: str, meant: str) -> None:
    assert likeness.near(asked, HOSTS, LOCALE)[0] == meant


@pytest.mark.parametrize(
    "asked",
    [
        "reviews.bookinfo.svc.cluster.local",
        "www.corp.example",
        "www.partner.example",
        "details.bookinfo.svc.cluster.local",
        "partner.example",
    ],
)
def test_a_long_common_ending_makes_no_two_names_alike(asked: str) -> None:
    assert likeness.near(asked, HOSTS, LOCALE) == ()


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("reviews", ["reviews.bookinfo.svc.cluster.local"]),
        ("reviews.vm", ["reviews.bookinfo.svc.cluster.local"]),
        ("reviews.default.svc.cluster.local", ["reviews.bookinfo.svc.cluster.local"]),
        ("reviews.corp.example", ["reviews.bookinfo.svc.cluster.local"]),
        ("reviews.bookinfo", []),
        ("reviews.example.com", []),
    ],
)
def test_a_service_is_found_in_another_namespace(asked: str, found: list[str]) -> None:
    assert [host.name for host in likeness.elsewhere(asked, HOSTS, LOCALE)] == found


@pytest.mark.parametrize(
    ("one", "other", "slips"),
    [("", "", 0), ("ab", "ba", 1), ("abc", "abd", 1), ("abc", "ac", 1), ("kitten", "sitting", 3)],
)
def test_slips_are_counted_as_typists_make_them(one: str, other: str, slips: int) -> None:
    assert likeness.distance(one, other) == likeness.distance(other, one) == slips
