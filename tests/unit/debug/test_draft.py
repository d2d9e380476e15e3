"""What is drafted of an observation."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interceptor.debug import draft
from interceptor.debug.draft import Port, Wish
from interceptor.debug.observed import Call, Listening, Observation, Visit
from interceptor.mesh import protocol
from interceptor.mesh.model import AppProtocol

WISH = Wish()


def named(name: str, port: int, spoken: str = "", **more: object) -> Call:
    values: dict[str, object] = {"count": 1, "answered": 1, "evidence": "dns"} | more
    return Call("198.51.100.7", port, name=name, protocol=spoken, **values)  # type: ignore[arg-type]


def drafted(*calls: Call, wish: Wish = WISH, **more: object) -> draft.Draft:
    return draft.build(Observation(calls=calls, **more), wish)  # type: ignore[arg-type]


def test_a_host_has_every_port_that_was_called_and_every_address() -> None:
    found = drafted(
        named("a.example", 80, "http", owners=(("web", 1),)),
        Call("2001:db8::7", 443, name="a.example", evidence="dns", protocol="tls", count=2),
    )
    (service,) = found.services
    assert [(p.number, p.name, p.protocol) for p in service.ports] == [
        (80, "http-80", "HTTP"),
        (443, "https-443", "HTTPS"),
    ]
    assert service.addresses == ("198.51.100.7", "2001:db8::7")
    assert (service.count, service.owners) == (3, (("web", 1),))


@pytest.mark.parametrize(
    ("number", "heard", "answered", "expected"),
    [
        (8080, ["http"], True, Port(8080, "http-8080", "HTTP", "http")),
        (443, ["tls"], True, Port(443, "https-443", "HTTPS", "tls")),
        (6443, ["tls"], True, Port(6443, "tls-6443", "TLS", "tls")),
        (50051, ["grpc"], True, Port(50051, "grpc-50051", "GRPC", "grpc")),
        (3306, ["mysql"], True, Port(3306, "tcp-mysql-3306", "TCP", "mysql")),
        (8080, ["http", "tls"], True, Port(8080, "tcp-8080", "TCP", "http/tls")),
        # Nothing was recognised of what was said: not HTTP, whatever the number.
        (8080, [""], True, Port(8080, "tcp-8080", "TCP", "", sure=False)),
        (5432, [""], True, Port(5432, "tcp-postgres-5432", "TCP", "postgres", sure=False)),
        # Nothing was said at all: the number is all there is.
        (80, [""], False, Port(80, "http-80", "HTTP", "http", sure=False)),
        (7777, [""], False, Port(7777, "tcp-7777", "TCP", "", sure=False)),
    ],
)
def test_a_port_is_named_by_what_was_heard(
    number: int, heard: list[str], answered: bool, expected: Port
) -> None:
    assert draft.port(number, heard, answered=answered) == expected


@given(st.integers(1, 65535), st.lists(st.sampled_from(["", "http", "tls", "mysql", "smtp"])))
def test_the_name_alone_says_what_the_protocol_says(number: int, heard: list[str]) -> None:
    port = draft.port(number, heard, answered=True)
    assert protocol.of_name(port.name) is protocol.of_entry_port(port.name, port.protocol)
    if len(set(heard) - {""}) != 1:
        assert protocol.of_name(port.name) is AppProtocol.TCP


def test_what_is_called_by_address_alone_is_a_network_to_capture() -> None:
    found = drafted(
        Call("198.51.100.7", 5432, count=1),
        Call("198.51.100.8", 5432, count=1),
        Call("2001:db8::7", 80, count=1),
    )
    assert found.services == ()
    assert [str(one) for one in found.include] == [
        "198.51.100.7/32",
        "198.51.100.8/32",
        "2001:db8::7/128",
    ]


def test_many_addresses_of_one_neighbourhood_are_one_network() -> None:
    calls = [Call(f"10.1.2.{last}", 9042, count=1) for last in range(1, 1 + draft.MANY_IN_ONE)]
    assert drafted(*calls).include == (ip_network("10.1.2.0/24"),)


def test_resolvers_by_tls_and_link_local_services_are_kept_out() -> None:
    found = drafted(
        Call("9.9.9.9", 853, count=1, name="dns.quad9.net", evidence="dns"),
        Call("169.254.169.254", 80, count=1),
        Call("198.51.100.9", 22, count=1),
        Call("127.0.0.1", 80, count=1),
    )
    assert (found.services, found.include) == ((), ())
    assert found.exclude == (ip_network("9.9.9.9/32"), ip_network("169.254.169.254/32"))


@pytest.mark.parametrize("pattern", ["*.example", "a.example", "198.51.100.0/24", "A.Example."])
def test_the_user_leaves_out_names_and_networks(pattern: str) -> None:
    calls = named("a.example", 80), Call("203.0.113.1", 81, count=1)
    found = drafted(*calls, wish=Wish(exclude=(pattern,)))
    assert found.services == ()
    assert found.include == (ip_network("203.0.113.1/32"),)


def test_names_that_no_mesh_takes_or_that_it_has_already_are_left_out() -> None:
    calls = [named(name, 80) for name in ("under_score.example", "known.example", "x" * 254, "ok")]
    found = drafted(*calls, wish=Wish(known={"known.example": "ServiceEntry"}))
    assert [service.host for service in found.services] == ["ok"]


def test_names_of_etc_hosts_keep_their_addresses() -> None:
    (service,) = drafted(named("db", 5432, evidence="hosts")).services
    assert service.static


def test_served_is_what_others_may_call() -> None:
    found = drafted(
        listening=(
            Listening(80, addresses=("0.0.0.0", "::"), owner="nginx"),
            Listening(3306, addresses=("10.0.0.1",), owner="mysqld"),
            Listening(6379, addresses=("127.0.0.1", "::1"), owner="redis"),
            Listening(22, addresses=("::",)),
            Listening(15001, addresses=("127.0.0.1",)),
            Listening(40001, addresses=("0.0.0.0",)),
            Listening(40002, addresses=("0.0.0.0",), owner="rpc"),
            Listening(5353, "udp", ("0.0.0.0",)),
        ),
        visits=(
            Visit(3306, "10.0.0.9", protocol="mysql", count=2),
            Visit(40002, "10.0.0.9", count=1, before=1),
            Visit(80, "", protocol="http", count=9),
        ),
    )
    assert [(one.port.name, one.owner, one.peers) for one in found.served] == [
        ("http-80", "nginx", ()),
        ("tcp-mysql-3306", "mysqld", (("10.0.0.9", 2),)),
        ("tcp-40002", "rpc", (("10.0.0.9", 2),)),
    ]


def test_of_a_capture_what_was_called_is_served() -> None:
    found = drafted(live=False, visits=(Visit(8080, "10.0.0.9", count=1), Visit(22, "10.0.0.9")))
    assert [one.port.number for one in found.served] == [8080]


@pytest.mark.parametrize(
    ("names", "suffixes"),
    [
        (["a.example.com", "b.example.com"], ["*.example.com"]),
        (["a.example.com", "b.example.org"], []),
        (["a.co.uk", "b.co.uk"], []),
        (["example.com", "example2.com"], []),
        (["a.b.example.com", "c.b.example.com", "d.example.com"], ["*.b.example.com"]),
    ],
)
def test_several_hosts_below_one_suffix_may_be_a_wildcard(
    names: list[str], suffixes: list[str]
) -> None:
    found = drafted(*(named(name, 443, "tls") for name in names))
    assert [suffix for suffix, _ in found.wildcards] == suffixes


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.builds(
            Call,
            address=st.ip_addresses().map(str),
            port=st.sampled_from([22, 53, 80, 443, 853, 3306]),
            name=st.sampled_from(["", "a.example", "b_.example", "*.x", "localhost"]),
            protocol=st.sampled_from(["", "http", "tls", "mysql"]),
            count=st.integers(0, 9),
        ),
        max_size=12,
    )
)
def test_each_call_is_of_one_host_or_of_one_network_or_left_out(calls: list[Call]) -> None:
    found = drafted(*calls)
    for one in found.services:
        assert draft.is_legal(one.host)
        assert len({port.number for port in one.ports}) == len(one.ports)
        assert len({port.name for port in one.ports}) == len(one.ports)
    assert not set(found.include) & set(found.exclude)
