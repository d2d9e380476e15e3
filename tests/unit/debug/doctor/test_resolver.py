"""Resolvers that mesh names get past, or do not."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from interceptor import config
from interceptor.debug.doctor import resolver
from interceptor.debug.doctor.check import Check, State
from interceptor.debug.doctor.fact import Facts, Net
from interceptor.host.nameservice import NameService, Resolved
from interceptor.host.occupant import Occupant

STUB, PLAIN = ip_address("127.0.0.53"), ip_address("10.0.0.53")
NAMES = NameService(servers=(PLAIN,), hosts=("files", "dns"))
BY_SOCKET = ("files", "resolve", "[!UNAVAIL=return]", "dns")


def judge(names: NameService, text: str = "", net: Net | None = None) -> dict[str, Check]:
    found = resolver.decide(Facts(names=names, net=net or Net()), config.parse(text))
    return {each.name: each for each in found}


def states(found: dict[str, Check]) -> dict[str, State]:
    return {name: each.state for name, each in found.items() if each.state is not State.OK}


def test_a_plain_resolver_is_right() -> None:
    assert not states(judge(NAMES))


def test_dns_over_tls_of_resolved_hides_names_from_whoever_asks_by_its_socket() -> None:
    names = replace(
        NAMES, servers=(STUB,), hosts=BY_SOCKET, resolved=Resolved(runs=True, over_tls="yes")
    )
    check = judge(names, "node: {domain: mesh.example}")["DNS over TLS"]
    assert check.state is State.FAULT
    assert "encrypted" in check.why
    assert "DNSOverTLS=no" in check.cure


def test_with_the_stub_dns_over_tls_is_only_told() -> None:
    names = replace(NAMES, servers=(STUB,), resolved=Resolved(runs=True, over_tls="yes"))
    assert states(judge(names)) == {"DNS over TLS": State.NOTE}


@pytest.mark.parametrize(
    ("resolved", "state"),
    [
        (Resolved(runs=True, over_tls="opportunistic"), State.WARNING),
        (Resolved(runs=True, links=("eth0 (yes)",)), State.FAULT),
    ],
)
def test_less_strict_and_of_one_link_it_is_seen_as_well(resolved: Resolved, state: State) -> None:
    assert states(judge(replace(NAMES, resolved=resolved))) == {"DNS over TLS": state}


def test_a_resolved_that_does_not_run_is_nobody() -> None:
    assert not states(judge(replace(NAMES, resolved=Resolved(over_tls="yes"))))


def test_names_below_local_need_a_routing_domain_with_nss_resolve() -> None:
    names = replace(NAMES, servers=(STUB,), hosts=BY_SOCKET, resolved=Resolved(runs=True))
    check = judge(names)["nss-resolve"]
    assert check.state is State.WARNING
    assert "~cluster.local" in check.cure
    routed = replace(names, resolved=Resolved(runs=True, domains=("~cluster.local",)))
    assert not states(judge(routed))
    assert not states(judge(names, "node: {domain: mesh.example}"))


def test_a_host_whose_programs_ask_no_name_server_is_a_fault() -> None:
    assert states(judge(replace(NAMES, hosts=("files",)))) == {"nsswitch": State.FAULT}


def test_multicast_dns_before_dns_is_told() -> None:
    names = replace(NAMES, hosts=("files", "mdns4_minimal", "[NOTFOUND=return]", "dns"))
    assert states(judge(names)) == {"nsswitch": State.NOTE}
    assert not states(judge(names, "node: {domain: mesh.example}"))


def test_queries_to_servers_that_are_not_captured_are_a_fault() -> None:
    found = judge(NAMES, "dns: {servers: [192.0.2.1]}")
    assert states(found) == {"resolv.conf": State.FAULT}
    assert found["resolv.conf"].cure == "dns.servers: all"


def test_a_local_program_that_encrypts_is_seen_by_its_name_and_port() -> None:
    listens = Occupant("udp", "127.0.0.1", 5053, 0, 1, 7, "cloudflared")
    net = Net(occupants=(listens,))
    assert states(judge(NAMES, net=net)) == {"DNS over HTTPS": State.WARNING}
    asked = replace(NAMES, servers=(ip_address("127.0.0.1"),))
    net = Net(occupants=(replace(listens, port=53),))
    assert states(judge(asked, net=net)) == {"DNS over HTTPS": State.NOTE}


def test_a_connection_to_port_853_is_a_resolver_that_nobody_sees() -> None:
    net = Net(encrypted=(Occupant("tcp", "9.9.9.9", 853, 0, 1, 7, "stubby"),))
    found = judge(NAMES, net=net)
    assert states(found) == {"DNS over TLS": State.WARNING}
    assert "stubby" in found["DNS over TLS"].seen


def test_a_cache_before_the_resolver_is_told() -> None:
    assert states(judge(replace(NAMES, has_nscd=True))) == {"nscd": State.NOTE}


def test_dns_that_is_switched_off_is_told() -> None:
    assert states(judge(NAMES, "dns: {enabled: false}")) == {"resolv.conf": State.WARNING}
