"""Which host a name means."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.mesh import record
from interceptor.mesh.directory import MAXIMUM_POINTERS, Directory
from interceptor.mesh.model import Endpoint, Host, Kind, Locale

DOMAIN = "cluster.local"
A1, A2 = ip_address("10.0.0.1"), ip_address("10.0.0.2")


def make(*hosts: Host, locale: Locale | None = None) -> Directory:
    directory = Directory(locale or Locale("vm", search=("Corp.Test.", "svc.cluster.local")))
    for host in hosts:
        directory.put(host.name, record.encode(host))
    return directory


def service(name: str, *addresses: object, kind: Kind = Kind.SERVICE) -> Host:
    return Host(name, "x", kind, tuple(addresses) or (A1,))  # type: ignore[arg-type]


def found(directory: Directory, name: str) -> tuple[str, str, str] | None:
    match = directory.find(name)
    return (match.host, match.canonical, match.search) if match else None


REVIEWS = "reviews.bookinfo.svc.cluster.local"


@pytest.mark.parametrize(
    ("asked", "search"),
    [
        (REVIEWS, ""),
        ("reviews.bookinfo.svc", ""),
        ("reviews.bookinfo", ""),
        ("reviews.bookinfo.corp.test", "corp.test"),
        ("reviews.bookinfo.svc.corp.test", "corp.test"),
        (f"{REVIEWS}.corp.test", "corp.test"),
        (f"{REVIEWS}.svc.cluster.local", "svc.cluster.local"),
    ],
)
def test_one_entry_serves_every_short_form_and_search_expansion(asked: str, search: str) -> None:
    assert found(make(service(REVIEWS)), asked) == (REVIEWS, REVIEWS, search)


@pytest.mark.parametrize(
    "asked",
    ["reviews", "reviews.corp.test", "reviews.bookinfo.svc.cluster", "reviews.bookinfo.corp"],
)
def test_names_that_nobody_meant_find_nothing(asked: str) -> None:
    assert make(service(REVIEWS)).find(asked) is None


def test_the_first_label_alone_is_enough_in_the_own_namespace_only() -> None:
    directory = make(service(REVIEWS), service(f"db.vm.svc.{DOMAIN}"))
    assert found(directory, "db") == (f"db.vm.svc.{DOMAIN}",) * 2 + ("",)
    assert found(directory, "reviews") is None


@pytest.mark.parametrize("asked", ["db-0.db.x", "db-0.db.x.svc", f"db-0.db.x.svc.{DOMAIN}"])
def test_pods_are_found_by_their_short_forms(asked: str) -> None:
    pod = service(f"db-0.db.x.svc.{DOMAIN}", kind=Kind.POD)
    assert found(make(pod), asked) == (pod.name, pod.name, "")


def test_an_exact_host_beats_an_alias_of_another() -> None:
    directory = make(service(REVIEWS), service("reviews.bookinfo", kind=Kind.SERVICE_ENTRY))
    assert found(directory, "reviews.bookinfo") == ("reviews.bookinfo",) * 2 + ("",)


def test_an_expansion_that_is_itself_a_host_is_that_host() -> None:
    expansion = "reviews.bookinfo.corp.test"
    directory = make(service(REVIEWS), service(expansion, kind=Kind.SERVICE_ENTRY))
    assert found(directory, expansion) == (expansion, expansion, "")


def test_a_known_host_behind_a_search_domain_beats_a_wildcard() -> None:
    directory = make(service(REVIEWS), service("*.corp.test", kind=Kind.SERVICE_ENTRY))
    assert found(directory, "reviews.bookinfo.corp.test") == (REVIEWS, REVIEWS, "corp.test")
    assert found(directory, "other.corp.test") == ("*.corp.test", "other.corp.test", "")


def test_wildcards_match_one_label_or_more_and_the_longest_wins() -> None:
    directory = make(service("*.test"), service("*.a.test"), service("x.b.a.test"))
    assert found(directory, "x.a.test") == ("*.a.test", "x.a.test", "")
    assert found(directory, "y.b.a.test") == ("*.a.test", "y.b.a.test", "")
    assert found(directory, "a.test") == ("*.test", "a.test", "")
    assert found(directory, "x.b.a.test") == ("x.b.a.test", "x.b.a.test", "")
    assert found(directory, "test") is None


def test_a_wildcard_is_found_behind_a_search_domain() -> None:
    directory = make(service("*.a.test"))
    assert found(directory, "x.a.test.corp.test") == ("*.a.test", "x.a.test", "corp.test")


def test_extra_names_lead_to_their_host_until_it_goes() -> None:
    host = Host("a.test", "x", Kind.NAME_TABLE, (A1,), extra_names=("alt.test", "a.test"))
    directory = make(host)
    assert found(directory, "alt.test") == ("a.test", "a.test", "")
    directory.drop("a.test")
    assert directory.find("alt.test") is None


def test_extra_names_that_a_rule_yields_take_no_room() -> None:
    forms = ("reviews.bookinfo", "reviews.bookinfo.svc")
    directory = make(Host(REVIEWS, "bookinfo", Kind.NAME_TABLE, (A1,), extra_names=forms))
    assert len(directory._others) == 0
    assert found(directory, "reviews.bookinfo") == (REVIEWS, REVIEWS, "")


def test_of_several_with_an_extra_name_the_first_has_it_whoever_came_last() -> None:
    first, second = (
        Host(name, "x", Kind.NAME_TABLE, (A1,), extra_names=("alt.test",))
        for name in ("a.test", "b.test")
    )
    directory = make(first, second)
    assert found(directory, "alt.test") == ("a.test", "a.test", "")
    directory.put("a.test", record.encode(first))
    directory.drop("a.test")
    assert found(directory, "alt.test") == ("b.test", "b.test", "")


def test_what_stands_under_a_name_is_told_apart_from_what_a_rule_finds() -> None:
    host = Host("a.test", "x", Kind.NAME_TABLE, (A1,), extra_names=("alt.test", "b.test"))
    plain, wild = service("b.test", A2), service("*.c.test")
    directory = make(host, plain, wild, service(REVIEWS))
    assert directory.at("a.test") == (record.encode(host), False)
    assert directory.at("alt.test") == (record.encode(host), True)
    assert directory.at("b.test") == (record.encode(plain), False)
    assert directory.at("*.c.test") == (record.encode(wild), False)
    assert directory.at("c.test") is directory.at("reviews.bookinfo") is None
    names = ["*.c.test", "a.test", "alt.test", "b.test", REVIEWS]
    assert sorted(directory.names()) == names


def test_pointers_are_the_addresses_that_lead_back_to_a_host() -> None:
    six = ip_address("fd00::1")
    backed = Host("a.test", "x", Kind.SERVICE, (A1, six), endpoints=(Endpoint(A1), Endpoint(A2)))
    directory = make(backed, service("*.b.test", ip_address("10.9.9.9")))
    assert sorted(directory.pointers()) == sorted(one.packed for one in (A1, A2, six))
    assert directory.is_pointed(A2.packed)
    assert directory.sizes() == (1, 1, 4)  # A1 is both, and counted twice: "at most"
    assert not directory.is_pointed(ip_address("10.9.9.9").packed)


def test_all_hosts_called_by_an_address_are_pointed_to() -> None:
    directory = make(service("b.test"), service("a.test"))
    assert directory.pointed(A1.packed) == ("a.test", "b.test")
    assert directory.pointed(A2.packed) == ()


def test_a_pod_is_pointed_to_rather_than_its_headless_service() -> None:
    headless = Host("db.test", "x", Kind.HEADLESS, (A1, A2), endpoints=(Endpoint(A1), Endpoint(A2)))
    directory = make(headless, service("db-0.db.test", A1, kind=Kind.POD))
    assert directory.pointed(A1.packed) == ("db-0.db.test",)
    assert directory.pointed(A2.packed) == ("db.test",)
    assert directory.pod(A1.packed, "db.test") == "db-0.db.test"
    assert directory.pod(A2.packed, "db.test") is None


def test_an_endpoint_points_to_the_first_host_that_it_serves() -> None:
    def backed(name: str) -> Host:
        return Host(name, "x", Kind.SERVICE, (), endpoints=(Endpoint(A2),))

    assert make(backed("b.test"), backed("a.test")).pointed(A2.packed) == ("a.test",)


def test_an_address_of_thousands_of_hosts_gives_a_bounded_answer() -> None:
    directory = make(*(service(f"h{n:05}.test") for n in range(2000)))
    assert len(directory.pointed(A1.packed)) == MAXIMUM_POINTERS


def test_addresses_of_both_families_never_mix() -> None:
    directory = make(
        service("four.test", ip_address("0.0.0.7")), service("six.test", ip_address("::7"))
    )
    assert directory.pointed(ip_address("0.0.0.7").packed) == ("four.test",)
    assert directory.pointed(ip_address("::7").packed) == ("six.test",)


def test_inner_names_are_known_in_own_zones_only() -> None:
    locale = Locale(own_zones=("cluster.local",))
    directory = make(service(REVIEWS), service("a.b.test"), locale=locale)
    assert directory.is_inner("bookinfo.svc.cluster.local")
    assert directory.is_inner("svc.cluster.local")
    assert not directory.is_inner("b.test")
    directory.drop(REVIEWS)
    assert not directory.is_inner("svc.cluster.local")


HOSTS = st.builds(
    lambda name, addresses, kind, ends, extra: Host(
        name, "x", kind, tuple(addresses), endpoints=tuple(map(Endpoint, ends)), extra_names=extra
    ),
    st.sampled_from(["a.test", "*.test", "b.x.svc.cluster.local", "c.x.svc.cluster.local"]),
    st.lists(st.sampled_from([A1, A2, ip_address("::1")]), unique=True),
    st.sampled_from([Kind.SERVICE, Kind.HEADLESS, Kind.SERVICE_ENTRY]),
    st.lists(st.sampled_from([A1, A2]), unique=True),
    st.sampled_from([(), ("alt.test",), ("b.x",)]),
)
STEPS = st.lists(st.tuples(st.booleans(), HOSTS), max_size=12)


@given(STEPS)
def test_any_course_of_changes_ends_as_if_built_at_once(steps: list[tuple[bool, Host]]) -> None:
    locale = Locale(own_zones=("cluster.local", "test"))
    followed, last = make(locale=locale), {}
    for is_removal, host in steps:
        if is_removal:
            followed.drop(host.name)
            last.pop(host.name, None)
        else:
            followed.put(host.name, record.encode(host))
            last[host.name] = host
    fresh = make(*last.values(), locale=locale)
    for store in ("_hosts", "_wild", "_others", "_vips", "_ends", "_inner"):
        assert getattr(followed, store) == getattr(fresh, store)
    assert len(followed) == len(last)


def test_a_released_directory_is_empty() -> None:
    directory = make(service("a.test"))
    directory.release()
    assert len(directory) == 0
    assert directory.pointed(A1.packed) == ()
