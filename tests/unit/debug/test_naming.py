"""What is wrong with a name, and when nothing is."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from interceptor import config
from interceptor.debug import naming
from interceptor.debug.case import Case, Obstacle, Probe, Queried, Resolver
from interceptor.debug.finding import Cause
from interceptor.mesh.model import Host, Kind, Locale, Port
from tests.unit.debug import sick

VM = Locale(namespace="vm")
WILD = Host("*.wild.example", "a", Kind.SERVICE_ENTRY, (ip_address("192.0.2.90"),), (sick.HTTP,))
EXACT = Host("shop.wild.example", "a", Kind.SERVICE_ENTRY, (ip_address("192.0.2.91"),))


def causes(case: Case) -> list[Cause]:
    return [finding.cause for finding in naming.diagnose(case)]


def test_a_good_name_gives_no_finding() -> None:
    assert causes(sick.case()) == []
    assert causes(sick.case(name="www.corp.example")) == []
    assert causes(sick.case(WILD, name="any.wild.example")) == []


def test_a_service_of_another_namespace_is_named_with_it() -> None:
    found = list(naming.diagnose(sick.case(name="reviews", locale=VM)))
    assert [each.cause for each in found] == [Cause.WRONG_NAMESPACE]
    assert "namespace vm has no reviews; namespace bookinfo has" in found[0].why
    assert found[0].next == "interceptor resolve reviews.bookinfo"


def test_a_slip_is_a_typo_and_no_wrong_namespace() -> None:
    found = list(naming.diagnose(sick.case(name="reviews.bokinfo")))
    assert [each.cause for each in found] == [Cause.NAME_TYPO]
    assert sick.NAME in found[0].why


def test_a_name_that_exists_outside_is_no_typo() -> None:
    probe = Probe(Queried("10.77.0.53", "NOERROR", ("192.0.2.1",)))
    assert causes(sick.case(name="reviewz.bookinfo", probe=probe)) == []


def test_a_host_that_is_kept_from_us_is_told_as_that() -> None:
    found = sick.case(name="secret.other", hidden=("other",))
    assert causes(found) == [Cause.NOT_EXPORTED]


def test_a_wildcard_that_hides_a_name_of_the_outside_shadows_it() -> None:
    probe = Probe(Queried("10.77.0.53", "NOERROR", ("192.0.2.90",), outside=("10.77.0.61",)))
    found = list(naming.diagnose(sick.case(WILD, name="any.wild.example", probe=probe)))
    assert [each.cause for each in found] == [Cause.WILDCARD_SHADOWING]
    assert "10.77.0.61" in found[0].evidence[0]


def test_a_wildcard_that_answers_for_a_mistyped_host_shadows_it() -> None:
    assert causes(sick.case(WILD, EXACT, name="shpo.wild.example")) == [Cause.WILDCARD_SHADOWING]


def test_a_narrow_wildcard_shadows_a_wide_one_that_has_the_port() -> None:
    wide = Host(
        "*.example", "a", Kind.SERVICE_ENTRY, (ip_address("192.0.2.92"),), (Port("tls", 443),)
    )
    found = sick.case(WILD, wide, name="any.wild.example", port=443)
    assert causes(found) == [Cause.WILDCARD_SHADOWING]


@pytest.mark.parametrize(
    ("resolver", "expected"),
    [
        (Resolver(("files", "dns"), dot_mode="yes"), []),
        (Resolver(("resolve", "files"), dot_mode="no"), []),
        (Resolver(("resolve", "files"), dot_mode="yes"), [Cause.ENCRYPTED_DNS]),
        (Resolver(("dns",), encrypted=("python to 10.77.0.53",)), [Cause.ENCRYPTED_DNS]),
    ],
)
def test_queries_over_tls_are_told_where_programs_ask_so(
    resolver: Resolver, expected: list[Cause]
) -> None:
    assert causes(replace(sick.case(), resolver=resolver)) == expected


def test_a_line_in_the_hosts_file_that_leads_elsewhere_is_told() -> None:
    resolver = Resolver(("files", "dns"), file=("10.9.9.9",))
    assert causes(replace(sick.case(), resolver=resolver)) == [Cause.HOSTS_FILE]
    same = replace(resolver, file=("10.96.0.11",))
    assert causes(replace(sick.case(), resolver=same)) == []


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("dns: {enabled: false}", [Cause.DNS_NOT_CAPTURED]),
        ("dns: {servers: [192.0.2.53]}", [Cause.DNS_NOT_CAPTURED]),
        ("dns: {servers: [10.77.0.53]}", []),
        ("capture: {owners: {exclude_uids: [1000]}}", []),
    ],
)
def test_queries_that_the_plan_leaves_alone_are_told(setting: str, expected: list[Cause]) -> None:
    resolver = Resolver(("dns",), (ip_address("10.77.0.53"),))
    made = sick.case(config=config.parse(setting))
    assert causes(replace(made, resolver=resolver)) == expected


SERVED = Resolver(("dns",), (ip_address("10.77.0.53"),))
LOST = Probe(Queried("10.77.0.53", error="timeout"))
OURS = Probe(Queried("10.77.0.53", "NOERROR", ("10.96.0.11",)))


@pytest.mark.parametrize(
    ("matches", "probe", "expected"),
    [
        (True, None, [Cause.FIREWALL]),
        (None, None, []),
        (None, LOST, [Cause.FIREWALL]),
        (None, OURS, []),
    ],
)
def test_a_firewall_that_takes_the_query_is_told(
    matches: bool | None, probe: Probe | None, expected: list[Cause]
) -> None:
    taken = Obstacle("output -300", "udp dport 53 drop", "drop", matches=matches)
    made = replace(sick.case(), resolver=SERVED, dns_obstacles=(taken,), probe=probe)
    assert causes(made) == expected


def test_a_query_that_is_lost_for_no_known_reason_is_told_unless_its_owner_is_excluded() -> None:
    made = replace(sick.case(), resolver=SERVED)
    assert causes(replace(made, probe=LOST)) == [Cause.NOT_ANSWERED]
    assert causes(replace(made, probe=OURS)) == []
    excluded = sick.case(config=config.parse("capture: {owners: {exclude_uids: [1000]}}"))
    assert causes(replace(excluded, resolver=SERVED, probe=LOST)) == []
