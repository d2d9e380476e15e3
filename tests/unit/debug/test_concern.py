"""What would break: every kind of concern has its case here, and silence where there is none."""

from __future__ import annotations

import pytest

from interceptor.debug import concern, draft
from interceptor.debug.concern import TOPICS, Concern, Weight
from interceptor.debug.draft import Wish
from interceptor.debug.observed import Asked, Call, Listening, Observation, Visit

LONG = ".".join(["a" * 60, "b" * 60, "c" * 20])


def call(name: str = "a.example", port: int = 80, protocol: str = "http", **more: object) -> Call:
    values: dict[str, object] = {
        "address": "198.51.100.7",
        "count": 1,
        "answered": 1,
        "evidence": "dns" if name else "",
        "owners": (("web.service (node)", 1),),
    }
    return Call(port=port, name=name, protocol=protocol, **values | more)  # type: ignore[arg-type]


def seen(*calls: Call, **more: object) -> Observation:
    return Observation(calls=calls, **more)  # type: ignore[arg-type]


CASES = {
    "encrypted-dns": (
        seen(call("dns.quad9.net", 853, "tls", address="9.9.9.9")),
        "dns.quad9.net (9.9.9.9:853) by web.service (node): DNS over TLS",
    ),
    "sidecar-uid": (seen(sidecar_like=("envoy (pid 7)",)), "envoy (pid 7)"),
    "ports-taken": (
        seen(listening=(Listening(15001, addresses=("0.0.0.0",), owner="envoy"),)),
        "15001 (outbound) is envoy's",
    ),
    "illegal-names": (
        seen(call("my_db.example")),
        "my_db.example (198.51.100.7:80) by web.service (node)",
    ),
    "bound-device": (
        seen(call(devices=("eth1",))),
        "a.example (198.51.100.7:80) by web.service (node), bound to eth1",
    ),
    "ftp": (seen(call(port=21, protocol="ftp")), "a.example (198.51.100.7:21)"),
    "literal-address": (
        seen(call("", 5432, "postgres", address="2001:db8::7")),
        "[2001:db8::7]:5432 postgres by web.service (node)",
    ),
    "etc-hosts": (seen(call("db", 5432, "postgres", evidence="hosts")), "db (198.51.100.7:5432)"),
    "proxy": (seen(call(port=3128, protocol="proxy")), "a.example (198.51.100.7:3128)"),
    "quic": (
        seen(call(port=443, protocol="quic", transport="udp")),
        "a.example (198.51.100.7:443)",
    ),
    "udp": (seen(call(port=8125, protocol="", transport="udp")), "a.example (198.51.100.7:8125)"),
    "multicast": (
        seen(call("", 5353, "multicast", transport="udp", address="224.0.0.251")),
        "224.0.0.251:5353",
    ),
    "open-before": (
        seen(call(count=0, before=3)),
        "3 to a.example (198.51.100.7:80) by web.service (node)",
    ),
    "other-name": (
        seen(call(said=("b.example",))),
        "a.example (198.51.100.7:80) by web.service (node) says b.example",
    ),
    "client-address": (
        seen(
            listening=(Listening(80, addresses=("::",), owner="nginx"),),
            visits=(Visit(80, "10.0.0.9", count=1),),
        ),
        "port 80 of nginx",
    ),
    "containers": (seen(forwarded=(("docker0", 4),)), "4 connections by docker0"),
    "agent-at-work": (seen(agent=77), "interceptor's daemon (pid 77)"),
    "server-first": (
        seen(call(port=3306, protocol="mysql")),
        "a.example:3306 is mysql: named tcp-mysql-3306",
    ),
    "unclear-protocol": (
        seen(call(protocol="http"), call(protocol="tls")),
        "a.example:80 speaks http/tls: written as TCP",
    ),
    "known-already": (seen(call("known.example")), "known.example: ServiceEntry shop/known"),
    "not-asked": (
        seen(call(evidence="sni", port=443, protocol="tls")),
        "a.example (198.51.100.7:443) by web.service (node), known by its SNI alone",
    ),
    "unanswered": (
        seen(call(answered=0, count=2)),
        "a.example (198.51.100.7:80) by web.service (node), 2 times",
    ),
    "ipv6-only": (seen(call(address="2001:db8::7")), "a.example (2001:db8::7)"),
    "srv": (seen(asked=(Asked("_db._tcp.a.example", 1, types=("SRV",)),)), "_db._tcp.a.example"),
    "long-names": (seen(call(LONG)), f"{LONG} (142 characters)"),
    "wildcards": (
        seen(call("a.b.example"), call("c.b.example")),
        "*.b.example for a.b.example, c.b.example",
    ),
    "incomplete": (seen(lost=3), "3 packets came quicker than they could be read"),
}
WISH = Wish(known={"known.example": "ServiceEntry shop/known"})


def concerns(found: Observation) -> dict[str, Concern]:
    built = concern.build(found, draft.build(found, WISH), WISH)
    return {one.topic: one for one in built}


def test_every_kind_has_a_case_here() -> None:
    assert CASES.keys() == set(TOPICS)


@pytest.mark.parametrize("topic", CASES)
def test_a_sign_is_told_with_who_and_where(topic: str) -> None:
    found, expected = CASES[topic]
    one = concerns(found)[topic]
    assert any(expected in case for case in one.cases), one.cases
    assert one.cure.endswith(".")


def test_an_ordinary_vm_is_no_concern() -> None:
    found = seen(
        call("api.example", 443, "tls"),
        call("shop.test", 80, "http"),
        listening=(Listening(8080, addresses=("127.0.0.1",), owner="node"),),
        asked=(Asked("api.example", 2, addresses=("198.51.100.7",)),),
        static=(("db", "10.0.0.9"),),
    )
    assert concerns(found) == {}


@pytest.mark.parametrize(
    ("name", "address", "said"),
    [
        ("dns.google", "198.51.100.1", ()),
        ("mozilla.cloudflare-dns.com", "198.51.100.1", ()),
        ("", "1.1.1.1", ()),
        ("proxy.example", "198.51.100.1", ("doh.example",)),
    ],
)
def test_dns_over_https_is_known_by_name_or_address(
    name: str, address: str, said: tuple[str, ...]
) -> None:
    found = seen(call(name, 443, "tls", address=address, said=said))
    assert "DNS over HTTPS" in concerns(found)["encrypted-dns"].cases[0]


def test_a_resolvers_web_page_on_another_port_is_none() -> None:
    assert "encrypted-dns" not in concerns(seen(call("dns.google", 80)))


def test_ipv6_that_was_chosen_where_ipv4_was_there_is_not_ipv6_alone() -> None:
    found = seen(
        call(address="2001:db8::7"),
        asked=(Asked("a.example", 1, addresses=("198.51.100.7", "2001:db8::7")),),
    )
    assert "ipv6-only" not in concerns(found)


def test_a_port_that_is_answered_without_a_listener_is_a_containers() -> None:
    found = seen(visits=(Visit(8080, "10.0.0.9", count=1, answered=1), Visit(81, "10.0.0.9")))
    assert concerns(found)["containers"].cases == (
        "port 8080 is published for one: no process of this VM listens there",
    )


def test_what_breaks_comes_first() -> None:
    found = seen(
        call(port=3306, protocol="mysql", devices=("eth1",)),
        call("", 81, "http"),
        sidecar_like=("envoy",),
    )
    weights = [one.weight for one in concerns(found).values()]
    assert weights == sorted(weights, key=list(Weight).index)
    assert weights[0] is Weight.BREAKS
    assert weights[-1] is Weight.KNOW
