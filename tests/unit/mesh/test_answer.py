"""What the mesh answers, and why: the tables of design §4."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from interceptor.mesh.answer import Answers, normal
from interceptor.mesh.model import AppProtocol, Endpoint, Host, Kind, Locale, Port
from interceptor.mesh.outcome import Resolution, Verdict
from interceptor.mesh.table import Difference

NS = "bookinfo.svc.cluster.local"
REVIEWS = f"reviews.{NS}"
PODS = ("10.20.0.1", "10.20.0.2")
HOSTS = (
    Host(
        REVIEWS,
        "bookinfo",
        Kind.SERVICE,
        (ip_address("10.0.0.1"), ip_address("fd00::1")),
        (Port("http", 9080, AppProtocol.HTTP), Port("dns", 53, AppProtocol.UDP)),
        (Endpoint(ip_address("10.1.0.1")),),
        origin="Service bookinfo/reviews",
    ),
    Host(f"v4.{NS}", "bookinfo", Kind.SERVICE, (ip_address("10.0.0.4"),)),
    Host(f"empty.{NS}", "bookinfo", Kind.HEADLESS),
    Host(
        f"db.{NS}",
        "bookinfo",
        Kind.HEADLESS,
        tuple(map(ip_address, PODS)),
        (Port("sql", 3306),),
        tuple(Endpoint(ip_address(pod), (("sql", 3307),)) for pod in PODS),
    ),
    Host(f"db-0.db.{NS}", "bookinfo", Kind.POD, (ip_address(PODS[0]),)),
    Host(f"ext.{NS}", "bookinfo", Kind.EXTERNAL_NAME, external_name="a.wild.test"),
    Host(f"away.{NS}", "bookinfo", Kind.EXTERNAL_NAME, external_name="www.elsewhere.test"),
    Host(f"chain.{NS}", "bookinfo", Kind.EXTERNAL_NAME, external_name=f"ext.{NS}"),
    Host(f"loop.{NS}", "bookinfo", Kind.EXTERNAL_NAME, external_name=f"pool.{NS}"),
    Host(f"pool.{NS}", "bookinfo", Kind.EXTERNAL_NAME, external_name=f"loop.{NS}"),
    Host("*.wild.test", "x", Kind.SERVICE_ENTRY, (ip_address("240.240.0.9"),), (Port("tls", 443),)),
    Host("*.bare.test", "x", Kind.SERVICE_ENTRY),
    Host("open.wild.test", "x", Kind.SERVICE_ENTRY),
    Host("api.test", "x", Kind.SERVICE_ENTRY, (ip_address("240.240.0.5"),)),
)
FORWARD = (
    ("zone.test", ("192.0.2.53", "192.0.2.54")),
    ("deep.own.test", ("192.0.2.55",)),
    ("inner.wild.test", ("192.0.2.56",)),
    ("wild.test", ("192.0.2.57",)),
    ("0.10.in-addr.arpa", ("192.0.2.58",)),
    ("away.elsewhere.test", ("192.0.2.59",)),
)
LOCALE = Locale("vm", search=("corp.test",), own_zones=("own.test",), ttl_s=30)
ORIGINS = {host.name: host.origin for host in HOSTS}
ANSWERS = Answers.build(HOSTS, LOCALE, lambda name: ORIGINS.get(name, ""))


def rows(resolution: Resolution) -> list[str]:
    return [f"{a.name} {a.type} {a.data}" for a in resolution.answers]


CNAME_REVIEWS = f"reviews.bookinfo.corp.test CNAME {REVIEWS}"


@pytest.mark.parametrize(
    ("name", "qtype", "wanted"),
    [
        ("reviews.bookinfo", "A", ["reviews.bookinfo A 10.0.0.1"]),
        ("Reviews.BookInfo.", "AAAA", ["reviews.bookinfo AAAA fd00::1"]),
        (REVIEWS, "ANY", [f"{REVIEWS} A 10.0.0.1", f"{REVIEWS} AAAA fd00::1"]),
        ("reviews.bookinfo.corp.test", "A", [CNAME_REVIEWS, f"{REVIEWS} A 10.0.0.1"]),
        ("reviews.bookinfo.corp.test", "CNAME", [CNAME_REVIEWS]),
        ("_http._tcp.reviews.bookinfo", "SRV",
         [f"_http._tcp.reviews.bookinfo SRV 0 100 9080 {REVIEWS}"]),
        ("_dns._udp.reviews.bookinfo.svc", "SRV",
         [f"_dns._udp.reviews.bookinfo.svc SRV 0 100 53 {REVIEWS}"]),
        ("_http._tcp.reviews.bookinfo.corp.test", "SRV",
         [f"_http._tcp.reviews.bookinfo.corp.test CNAME _http._tcp.{REVIEWS}",
          f"_http._tcp.{REVIEWS} SRV 0 100 9080 {REVIEWS}"]),
        ("_sql._tcp.db.bookinfo", "SRV",
         [f"_sql._tcp.db.bookinfo SRV 0 100 3307 db-0.db.{NS}",
          f"_sql._tcp.db.bookinfo SRV 0 100 3307 db.{NS}"]),
        ("_tls._tcp.x.wild.test", "SRV", ["_tls._tcp.x.wild.test SRV 0 100 443 x.wild.test"]),
        ("db.bookinfo", "A", ["db.bookinfo A 10.20.0.1", "db.bookinfo A 10.20.0.2"]),
        ("db-0.db.bookinfo", "A", ["db-0.db.bookinfo A 10.20.0.1"]),
        ("1.0.0.10.in-addr.arpa", "PTR", [f"1.0.0.10.in-addr.arpa PTR {REVIEWS}"]),
        ("1.0.1.10.in-addr.arpa", "PTR", [f"1.0.1.10.in-addr.arpa PTR {REVIEWS}"]),
        ("1.0.20.10.in-addr.arpa", "ANY", [f"1.0.20.10.in-addr.arpa PTR db-0.db.{NS}"]),
        ("ext.bookinfo", "A",
         ["ext.bookinfo CNAME a.wild.test", "a.wild.test A 240.240.0.9"]),
        ("chain.bookinfo", "A",
         [f"chain.bookinfo CNAME ext.{NS}", f"ext.{NS} CNAME a.wild.test",
          "a.wild.test A 240.240.0.9"]),
        ("away.bookinfo", "A", ["away.bookinfo CNAME www.elsewhere.test"]),
        ("away.bookinfo", "CNAME", ["away.bookinfo CNAME www.elsewhere.test"]),
        ("x.y.wild.test", "A", ["x.y.wild.test A 240.240.0.9"]),
        ("x.wild.test.corp.test", "A",
         ["x.wild.test.corp.test CNAME x.wild.test", "x.wild.test A 240.240.0.9"]),
        ("api.test", "A", ["api.test A 240.240.0.5"]),
    ],
)  # fmt: skip
def test_a_mesh_name_is_answered(name: str, qtype: str, wanted: list[str]) -> None:
    resolution = ANSWERS.resolve(name, qtype)
    assert rows(resolution) == wanted
    assert (resolution.verdict, resolution.rcode) == (Verdict.ANSWER, "NOERROR")
    assert {answer.ttl_s for answer in resolution.answers} == {30}


@pytest.mark.parametrize(
    ("name", "qtype"),
    [
        ("v4.bookinfo", "AAAA"),
        ("api.test", "AAAA"),
        ("x.wild.test", "AAAA"),
        ("empty.bookinfo", "A"),
        ("empty.bookinfo", "ANY"),
        *(
            (REVIEWS, kind)
            for kind in ("HTTPS", "SVCB", "TXT", "MX", "NS", "SOA", "CNAME", "TYPE99")
        ),
        (REVIEWS, "SRV"),
        (REVIEWS, "PTR"),
        ("_http._tcp.reviews.bookinfo", "A"),
        ("_tcp.reviews.bookinfo", "SRV"),
        ("1.0.0.10.in-addr.arpa", "A"),
        ("own.test", "A"),
    ],
)
def test_a_mesh_name_without_such_data_is_nodata_never_nxdomain(name: str, qtype: str) -> None:
    resolution = ANSWERS.resolve(name, qtype)
    assert (resolution.verdict, resolution.rcode) == (Verdict.NODATA, "NOERROR")
    assert not resolution.answers


def test_an_expansion_without_such_data_still_shows_its_cname() -> None:
    resolution = ANSWERS.resolve("v4.bookinfo.corp.test", "AAAA")
    assert resolution.verdict is Verdict.NODATA
    assert rows(resolution) == [f"v4.bookinfo.corp.test CNAME v4.{NS}"]


@pytest.mark.parametrize(
    ("name", "qtype"),
    [
        ("www.elsewhere.test", "A"),
        ("wild.test", "A"),
        ("reviews", "A"),
        ("x.bare.test", "A"),
        ("open.wild.test", "A"),
        ("open.wild.test.corp.test", "A"),
        ("open.wild.test", "TXT"),
        ("_nope._tcp.reviews.bookinfo", "SRV"),
        ("_http._udp.reviews.bookinfo", "SRV"),
        ("_http._tcp.ext.bookinfo", "SRV"),
        ("_sctp.reviews.bookinfo", "A"),
        ("9.9.9.9.in-addr.arpa", "PTR"),
        ("cluster.local", "SOA"),
        (NS, "A"),
        ("notown.test", "A"),
    ],
)
def test_a_name_of_nobody_in_the_mesh_is_left_alone(name: str, qtype: str) -> None:
    resolution = ANSWERS.resolve(name, qtype)
    assert (resolution.verdict, resolution.rcode) == (Verdict.PASS, "")
    assert not resolution.answers


def test_a_name_of_an_own_zone_that_no_host_bears_is_nxdomain() -> None:
    resolution = ANSWERS.resolve("a.b.own.test", "A")
    assert (resolution.verdict, resolution.rcode) == (Verdict.NXDOMAIN, "NXDOMAIN")


def test_what_stands_above_a_host_in_an_own_zone_exists() -> None:
    locale = Locale("vm", own_zones=("cluster.local",))
    answers = Answers.build(HOSTS, locale)
    assert answers.resolve(NS, "A").verdict is Verdict.NODATA
    assert answers.resolve(f"_tcp.{REVIEWS}", "A").verdict is Verdict.NODATA
    assert answers.resolve(f"nobody.{NS}", "A").verdict is Verdict.NXDOMAIN
    assert answers.resolve(f"_nope._tcp.{REVIEWS}", "SRV").verdict is Verdict.NXDOMAIN


@pytest.mark.parametrize("qtype", ["A", "CNAME", "ANY"])
def test_a_loop_of_external_names_ends(qtype: str) -> None:
    resolution = ANSWERS.resolve("loop.bookinfo", qtype)
    assert resolution.verdict is Verdict.ANSWER
    assert 0 < len(resolution.answers) < 9


def test_an_external_name_of_itself_is_nodata() -> None:
    host = Host(
        "me.x.svc.cluster.local", "x", Kind.EXTERNAL_NAME, external_name="me.x.svc.cluster.local"
    )
    assert Answers.build([host], LOCALE).resolve(host.name, "A").verdict is Verdict.NODATA


def test_the_shown_answers_never_bear_a_star() -> None:
    for name in ("x.wild.test", "x.wild.test.corp.test", "ext.bookinfo"):
        assert not any("*" in row for row in rows(ANSWERS.resolve(name, "A")))


@pytest.mark.parametrize(
    ("name", "zone"),
    [
        ("v4.bookinfo", "v4.bookinfo"),
        (f"v4.{NS}", "cluster.local"),
        ("v4.bookinfo.corp.test", "cluster.local"),
        ("api.test", "api.test"),
        ("x.own.test", "own.test"),
    ],
)
def test_the_soa_is_of_a_zone_that_we_may_speak_for(name: str, zone: str) -> None:
    assert ANSWERS.decide(name, 28).zone == zone


def test_why_tells_the_way_from_name_to_host() -> None:
    why = ANSWERS.resolve("reviews.bookinfo.corp.test", "A").why
    assert (
        why == f"search domain corp.test stripped → alias of {REVIEWS} (Service bookinfo/reviews)"
    )
    assert "longest wildcard *.wild.test" in ANSWERS.resolve("a.wild.test", "A").why
    assert "own zone" in ANSWERS.resolve("a.own.test", "A").why


def test_the_table_follows_differences() -> None:
    answers = Answers.build(HOSTS, LOCALE)
    answers.apply(
        Difference(
            (Host("new.test", "x", Kind.SERVICE_ENTRY, (ip_address("10.9.9.9"),)),), (REVIEWS,)
        )
    )
    assert rows(answers.resolve("new.test", "A")) == ["new.test A 10.9.9.9"]
    assert answers.resolve(REVIEWS, "A").verdict is Verdict.PASS
    assert len(answers) == len(HOSTS)


def test_names_are_written_in_lower_case_without_the_final_dot() -> None:
    assert normal("A.Test.") == "a.test"


@pytest.mark.parametrize(
    ("name", "zone"),
    [
        ("zone.test", "zone.test"),
        ("A.b.Zone.TEST.", "zone.test"),
        ("xzone.test", ""),
        ("x.deep.own.test", "deep.own.test"),
        ("x.inner.wild.test", "inner.wild.test"),
        ("wild.test", "wild.test"),
        ("open.wild.test", "wild.test"),  # a host without an address is not ours to answer
        ("9.0.0.10.in-addr.arpa", "0.10.in-addr.arpa"),
        ("reviews.bookinfo", ""),
    ],
)
def test_a_name_of_a_forward_zone_is_its_servers(name: str, zone: str) -> None:
    answers = Answers.build(HOSTS, replace(LOCALE, forward_zones=FORWARD))
    found = answers.resolve(name, "A")
    assert (found.verdict is Verdict.FORWARD) == bool(zone)
    if zone:
        servers = dict(FORWARD)[zone]
        assert found.why == f"in forward zone {zone}, sent to {' or '.join(servers)}"
        assert (found.rcode, found.answers, found.host) == ("", (), "")


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("x.wild.test", Verdict.ANSWER),  # a wildcard as long as the zone
        ("x.own.test", Verdict.NXDOMAIN),  # an own zone above the forward zone
        ("1.0.0.10.in-addr.arpa", Verdict.ANSWER),
        ("reviews.bookinfo.corp.test", Verdict.ANSWER),
    ],
)
def test_what_the_mesh_says_more_closely_stands_before_a_forward_zone(
    name: str, verdict: Verdict
) -> None:
    answers = Answers.build(HOSTS, replace(LOCALE, forward_zones=FORWARD))
    kind = "PTR" if name.endswith(".arpa") else "A"
    assert answers.resolve(name, kind).verdict is verdict


def test_an_own_zone_below_a_forward_zone_is_ours() -> None:
    zones = (("test", ("192.0.2.53",)),)
    answers = Answers.build(HOSTS, replace(LOCALE, forward_zones=zones))
    assert answers.resolve("x.own.test", "A").verdict is Verdict.NXDOMAIN
    assert answers.resolve("x.other.test", "A").verdict is Verdict.FORWARD


@pytest.mark.parametrize("kind", ["TYPE251", "TYPE252"])
def test_a_transfer_of_a_forward_zone_is_nobodys(kind: str) -> None:
    answers = Answers.build(HOSTS, replace(LOCALE, forward_zones=FORWARD))
    assert answers.resolve("zone.test", kind).verdict is Verdict.PASS
