"""What the program answers, hands over, and lets pass: against the worker's own Responder."""

from __future__ import annotations

import random
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import pytest
from dnslib import EDNS0, DNSRecord
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interceptor.host.layout import PolicyFlag, State
from interceptor.mesh.answer import Answers
from interceptor.mesh.model import Endpoint, Host, Kind, Locale, Port

pytestmark = pytest.mark.root

Check = Callable[..., str]
NS = "bookinfo.svc.cluster.local"
V4 = tuple(ip_address("10.0.0.1") + n for n in range(12))
V6 = tuple(ip_address("fd00::1") + n for n in range(12))
KINDS = ("A", "AAAA", "ANY", "HTTPS", "TXT", "MX", "SOA", "CNAME", "SRV", "PTR")


def query(name: str, kind: str = "A", size: int | None = None, **more: Any) -> bytes:
    record = DNSRecord.question(name, kind)
    record.header.id = more.pop("id", 0x1234)
    if size is not None:
        record.add_ar(EDNS0(udp_len=size, **more))
    return bytes(record.pack())


@pytest.fixture(scope="module")
def answers() -> Answers:
    hosts = [
        Host(f"reviews.{NS}", "bookinfo", Kind.SERVICE, (*V4[:3], *V6[:2]), (Port("http", 9080),)),
        Host(f"v4.{NS}", "bookinfo", Kind.SERVICE, V4[:1]),
        Host(f"six.{NS}", "bookinfo", Kind.SERVICE, V6[:2]),
        Host(f"eight.{NS}", "bookinfo", Kind.SERVICE, (*V4[:8], *V6[:8])),
        Host(f"nine.{NS}", "bookinfo", Kind.SERVICE, V4[:9]),
        Host(f"none.{NS}", "bookinfo", Kind.HEADLESS),
        Host(f"db.{NS}", "bookinfo", Kind.HEADLESS, V4[:2], (Port("sql", 3306),),
             tuple(map(Endpoint, V4[:2]))),
        Host(f"ext.{NS}", "bookinfo", Kind.EXTERNAL_NAME, external_name="a.wild.test"),
        Host("ratings.vm.svc.cluster.local", "vm", Kind.SERVICE, V4[5:6]),
        Host("open.test", "x", Kind.SERVICE_ENTRY),
        Host("api.example.com", "x", Kind.SERVICE_ENTRY, V4[3:4], extra_names=("api.alias",)),
        Host("*.wild.test", "x", Kind.SERVICE_ENTRY, V4[4:5]),
        Host("*.deep.wild.test", "x", Kind.SERVICE_ENTRY, V6[4:5]),
        Host("*.open.wild.test", "x", Kind.SERVICE_ENTRY),
        Host("x.own.test", "x", Kind.SERVICE_ENTRY, V4[6:7]),
    ]  # fmt: skip
    return Answers.build(hosts, Locale("vm", search=("corp.test",), own_zones=("own.test",)))


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        (f"reviews.{NS}", "answer"),
        ("reviews.bookinfo.svc", "answer"),
        ("reviews.bookinfo", "answer"),
        ("reviews", "pass"),
        ("ratings", "answer"),
        ("ratings.vm", "answer"),
        ("ratings.vm.svc", "answer"),
        ("ratings.vm.svc.cluster.local", "answer"),
        (f"eight.{NS}", "answer"),
        (f"nine.{NS}", "handover"),
        (f"none.{NS}", "answer"),
        (f"ext.{NS}", "handover"),
        (f"nobody.{NS}", "pass"),
        ("api.example.com", "answer"),
        ("api.alias", "answer"),
        ("open.test", "pass"),
        ("a.wild.test", "answer"),
        ("a.b.c.wild.test", "answer"),
        ("a.deep.wild.test", "answer"),
        ("deep.wild.test", "answer"),
        ("a.open.wild.test", "pass"),
        ("wild.test", "pass"),
        ("reviews.bookinfo.corp.test", "handover"),
        ("a.wild.test.corp.test", "handover"),
        ("open.test.corp.test", "pass"),
        ("x.own.test", "answer"),
        ("y.own.test", "handover"),
        ("own.test", "handover"),
        ("www.example.org", "pass"),
        ("com", "pass"),
        (f"_http._tcp.reviews.{NS}", "handover"),
        ("_tcp.reviews.bookinfo", "handover"),
        ("_http._tcp.www.example.org", "pass"),
        ("_dmarc.a.wild.test", "answer"),
        ("1.0.0.10.in-addr.arpa", "handover"),
        ("01.0.0.10.in-addr.arpa", "pass"),
        ("77.0.0.10.in-addr.arpa", "pass"),
        (f"{ip_address('fd00::1').reverse_pointer}", "handover"),
        (f"{ip_address('fd00::99').reverse_pointer}", "pass"),
        ("0.10.in-addr.arpa", "pass"),
    ],
)
def test_each_name_has_its_verdict(
    dns: Any, check: Check, answers: Answers, name: str, verdict: str
) -> None:
    dns.publish(answers)
    for family in (4, 6):
        for kind in KINDS:
            got = {check(answers, query(name, kind, size), family) for size in (None, 512, 4096)}
            assert got == {verdict} or (got == {"pass"} and verdict == "pass"), kind
    mixed = "".join(c.upper() if n % 2 else c for n, c in enumerate(name))
    assert check(answers, query(mixed)) == verdict
    assert check(answers, query(name, size=1232, version=1)) in (verdict, "handover")


LABELS = st.sampled_from(
    ("a", "b", "vm", "ns", "svc", "cluster", "local", "com", "dns", "ns", "hostmaster")
)
FRONT = st.sampled_from(("",) * 12 + ("_tcp.", "_x._tcp.", "_x._udp.", "_y.", "_tcp._udp."))
NAMES = st.lists(LABELS, min_size=1, max_size=6).map(".".join)
COUNTS = st.sampled_from((0, 1, 1, 2, 8, 9))
ADDRESSES = st.tuples(COUNTS, COUNTS).map(lambda counts: (*V4[: counts[0]], *V6[: counts[1]]))
ENDS = st.sampled_from(
    ("", "", ".svc", ".vm", ".vm.svc", ".svc.cluster.local", ".vm.svc.cluster.local", ".svc.local")
)
HOSTS = st.builds(
    lambda wild, name, end, kind, where, extra, target: Host(
        wild + name + end,
        "x",
        kind,
        where,
        extra_names=() if wild else tuple(extra),
        external_name=target if kind is Kind.EXTERNAL_NAME else "",
    ),
    st.sampled_from(("", "", "*.")),
    NAMES,
    ENDS,
    st.sampled_from((Kind.SERVICE, Kind.SERVICE_ENTRY, Kind.SERVICE_ENTRY, Kind.EXTERNAL_NAME)),
    ADDRESSES,
    st.lists(NAMES, max_size=2),
    NAMES,
)
LOCALES = st.builds(
    Locale,
    st.sampled_from(("vm", "ns")),
    st.sampled_from(("cluster.local", "local", "svc.local")),
    st.lists(NAMES, max_size=3).map(tuple),
    st.lists(NAMES, max_size=2).map(tuple),
)


def asked(draw: st.DrawFn, hosts: list[Host], locale: Locale) -> str:
    """A name that has something to do with the table: nearly always one that leads somewhere."""
    host = draw(st.sampled_from(hosts))
    name = host.name.removeprefix("*.")
    if host.is_wildcard:
        name = draw(st.sampled_from(("a.", "b.vm.", "ns.dns.", "hostmaster.", ""))) + name
    elif host.extra_names and draw(st.booleans()):
        name = draw(st.sampled_from(host.extra_names))
    for end in draw(st.permutations((f".{locale.domain}", ".svc", f".{locale.namespace}"))):
        if draw(st.booleans()):
            name = name.removesuffix(end)
    if draw(st.integers(0, 9)) == 0:
        name = draw(NAMES) + draw(ENDS)
    search = draw(st.sampled_from(("", "", "", *(f".{one}" for one in locale.search))))
    return draw(FRONT) + name + search


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Host], Locale, list[tuple[str, str]]]:
    locale = draw(LOCALES)
    hosts = draw(st.lists(HOSTS, min_size=1, max_size=12, unique_by=lambda host: host.name))
    questions = [(asked(draw, hosts, locale), draw(st.sampled_from(KINDS))) for _ in range(30)]
    return hosts, locale, questions


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(worlds(), st.integers(0, 1 << 30))
def test_the_kernel_and_the_worker_agree_on_random_tables(
    dns: Any, check: Check, world: tuple[list[Host], Locale, list[tuple[str, str]]], seed: int
) -> None:
    hosts, locale, questions = world
    answers = Answers.build(hosts, locale)
    publisher = dns.publish(answers)
    chance = random.Random(seed)
    for name, kind in questions:
        mixed = "".join(chance.choice((c.lower(), c.upper())) for c in name)
        message = query(mixed, kind, chance.choice((None, 512, 4096)), id=chance.randrange(65536))
        check(answers, message, chance.choice((4, 6)))
    publisher.close()


def test_nothing_is_answered_before_the_first_table(dns: Any) -> None:
    assert dns.ask(query(f"v4.{NS}")).verdict == "pass"
    assert dns.counts() == {("no-view", "A"): 1}


def test_without_a_worker_its_queries_pass(dns: Any, answers: Answers) -> None:
    dns.publish(answers)
    dns.set_state(State.WORKER_NS, 0)
    assert dns.ask(query(f"nine.{NS}")).verdict == "pass"
    assert dns.ask(query(f"v4.{NS}")).verdict == "answer"
    assert dns.counts() == {("no-worker", "A"): 1, ("answer", "A"): 1}


def test_families_and_servers_that_are_not_captured_pass(dns: Any, answers: Answers) -> None:
    dns.publish(answers)
    dns.set_policy(PolicyFlag.DNS | PolicyFlag.DNS_ALL | PolicyFlag.IPV6)
    assert dns.ask(query(f"v4.{NS}"), 4).verdict == "pass"
    assert dns.ask(query(f"v4.{NS}"), 6).verdict == "answer"
    dns.set_policy(PolicyFlag.DNS | PolicyFlag.IPV4 | PolicyFlag.IPV6)
    assert dns.ask(query(f"v4.{NS}"), 4).verdict == "pass"
