"""Which suffixes of a locale find a place in the kernel, and what becomes of the others."""

from __future__ import annotations

import pytest

from interceptor.dns.suffix import choose, encode_locale, wire
from interceptor.host.layout import (
    LOCALE_HEAD,
    LOCALE_SIZE,
    MARK_CLUSTER,
    MARK_OWN,
    MARK_ROOT,
    SUFFIX,
    SUFFIXES,
    LocaleFlag,
    Suffix,
)
from interceptor.mesh.model import Locale

LONG = "x" * 63  # one label; behind it nothing more fits


def cuts(locale: Locale, name: str) -> list[tuple[str, int]]:
    return list(choose(locale).cuts(name))


@pytest.mark.parametrize(
    ("name", "cut"),
    [
        ("a.vm.svc.cluster.local", ("a", MARK_OWN)),
        ("db-0.db.vm.svc.cluster.local", ("db-0.db", MARK_OWN)),
        ("a.b.svc.cluster.local", ("a.b", MARK_CLUSTER)),
        ("vm.svc.cluster.local", ("vm", MARK_CLUSTER)),
        ("svc.cluster.local", ("svc.cluster.local", MARK_ROOT)),
        ("asvc.cluster.local", ("asvc.cluster.local", MARK_ROOT)),
        ("a.test", ("a.test", MARK_ROOT)),
    ],
)
def test_a_known_end_is_cut_off_and_leaves_its_mark(name: str, cut: tuple[str, int]) -> None:
    assert cuts(Locale("vm"), name) == [cut]


def test_where_the_program_cannot_cut_a_name_stands_under_each_of_its_forms() -> None:
    name = f"a.{LONG}.svc.cluster.local"
    assert cuts(Locale(LONG), name) == [("a", MARK_OWN), (f"a.{LONG}", MARK_CLUSTER)]
    domain = f"{LONG}.test"
    assert cuts(Locale("vm", domain), f"a.b.svc.{domain}") == [
        ("a.b", MARK_CLUSTER),
        (f"a.b.svc.{domain}", MARK_ROOT),
    ]


def test_a_locale_is_written_as_the_layout_says() -> None:
    locale = Locale("vm", search=("corp.test",), own_zones=("own", "a.own"))
    data = encode_locale(choose(locale), 7, LocaleFlag.HAS_WILD, 0b110)
    assert len(data) == LOCALE_SIZE
    flags = LocaleFlag.HAS_WILD | LocaleFlag.HAS_ZONES | LocaleFlag.HAS_SEARCH
    assert LOCALE_HEAD.unpack_from(data) == (7, flags, 0b110)
    rows = [SUFFIX.unpack_from(data, LOCALE_HEAD.size + n * SUFFIX.size) for n in range(SUFFIXES)]
    written = {n: value[len(value) - length :] for n, (value, length, _) in enumerate(rows)}
    assert written[Suffix.OWN] == b"\2vm\3svc\7cluster\5local\0"
    assert written[Suffix.CLUSTER] == b"\3svc\7cluster\5local\0"
    assert written[Suffix.OWN_SHORT] == b"\2vm\3svc\0"
    assert written[Suffix.CLUSTER_SHORT] == b"\3svc\0"
    assert written[Suffix.NAMESPACE] == b"\2vm\0"
    assert written[Suffix.DOMAIN] == b"\7cluster\5local\0"
    assert written[Suffix.ZONES] == b"\1a\3own\0"  # the longest first
    assert written[Suffix.ZONES + 1] == b"\3own\0"
    assert written[Suffix.SEARCH] == b"\4corp\4test\0"
    used = {*Suffix, Suffix.ZONES + 1}
    assert {n for n, value in written.items() if value} == used
    assert all(value[: len(value) - length].strip(b"\0") == b"" for value, length, _ in rows)


def test_a_locale_without_zones_and_searches_says_so() -> None:
    assert LOCALE_HEAD.unpack_from(encode_locale(choose(Locale()), 30, LocaleFlag(0), 0)) == (
        30,
        0,
        0,
    )


def test_what_finds_no_room_is_named() -> None:
    zones = tuple(f"z{n}.test" for n in range(5))
    searches = tuple(f"s{n}.test" for n in range(6))
    found = choose(Locale("vm", search=(LONG, *searches, "s6.test"), own_zones=zones))
    assert found.lost_zones == ("z4.test",)
    assert found.lost_searches == (LONG, "s6.test")
    assert found.fields[Suffix.SEARCH] == wire("s0.test") + b"\0"
    assert [problem.split(":")[0] for problem in found.problems] == [
        "own zone z4.test",
        f"search domain {LONG}",
        "search domain s6.test",
    ]
    assert not choose(Locale()).problems


def test_names_whose_soa_the_program_would_get_wrong_are_doubtful() -> None:
    zones = ("1.longzone", "2.longzone", "3.longzone", "4.longzone", "bookinfo")
    found = choose(Locale("vm", own_zones=zones))
    assert found.lost_zones == ("bookinfo",)  # the shortest
    assert found.is_doubtful("a.bookinfo")
    assert found.is_doubtful("reviews.bookinfo.svc.cluster.local")  # reviews.bookinfo for short
    assert found.is_doubtful("a.bookinfo.vm.svc.cluster.local")  # a.bookinfo for short
    assert not found.is_doubtful("reviews.other.svc.cluster.local")
    assert found.is_doubtful_below("bookinfo")
    assert found.is_doubtful_below("x.bookinfo")
    assert not found.is_doubtful_below("test")
    assert choose(Locale(domain=f"{LONG}.test")).is_doubtful("anything.at.all")


def test_wildcards_over_a_search_domain_without_room_are_doubtful() -> None:
    found = choose(Locale("vm", search=(*(f"s{n}" for n in range(6)), "corp.test")))
    assert found.is_doubtful_below("test")
    assert found.is_doubtful_below("x.corp.test")
    assert not found.is_doubtful_below("other.test")
    assert not found.is_doubtful("a.corp.test")


@pytest.mark.parametrize("name", ["", "a..b", "x" * 64, "ä.test", ".a", "a."])
def test_what_is_no_name_has_no_wire_format(name: str) -> None:
    with pytest.raises(ValueError, match="ASCII|label"):
        wire(name)


def test_a_namespace_that_is_no_label_is_not_known_to_the_program() -> None:
    found = choose(Locale("x" * 64))
    assert not found.fields[Suffix.OWN]
    assert not found.fields[Suffix.NAMESPACE]
