"""Whom the listener on 15006 lets in."""

from __future__ import annotations

from ipaddress import ip_address

from envoy.config.listener.v3 import listener_pb2

from interceptor.mesh.policy import Mode, PeerAuthentication, Policy
from interceptor.mesh.table import Difference, MeshTable
from interceptor.sidecar import inbound, resources
from interceptor.sidecar.setting import Settings

OWN = ip_address("192.0.2.9")
SERVICES = {8080: "web.vm", 3306: "mysql.vm"}
TLS = "envoy.transport_sockets.tls"


def build(mode: Mode, *ports: tuple[int, Mode]) -> listener_pb2.Listener:
    settings = Settings(
        own_addresses=(OWN,), trust_domain="example.org", policy=Policy(mode, ports)
    )
    return inbound.build_inbound(settings, SERVICES)


def chains(listener: listener_pb2.Listener, port: int) -> list[tuple[str, str]]:
    """(transport protocol asked for, transport socket) of each chain of a port, 0 for any."""
    return [
        (chain.filter_chain_match.transport_protocol, chain.transport_socket.name)
        for chain in listener.filter_chains
        if chain.filter_chain_match.destination_port.value == port
    ]


def test_strict_asks_everybody_for_a_certificate_at_every_port() -> None:
    listener = build(Mode.STRICT)
    assert chains(listener, 8080) == chains(listener, 3306) == [("", TLS)]
    assert listener.default_filter_chain.transport_socket.name == TLS


def test_from_strict_to_permissive_nothing_changes_but_chains() -> None:
    strict, permissive = build(Mode.STRICT), build(Mode.PERMISSIVE)
    for listener in (strict, permissive):
        listener.ClearField("filter_chains")
        listener.ClearField("default_filter_chain")
    assert strict == permissive


def test_permissive_tells_members_from_others_by_how_they_begin() -> None:
    listener = build(Mode.PERMISSIVE)
    for port in (8080, 3306):
        assert chains(listener, port) == [("tls", TLS), ("", "")]
    assert chains(listener, 0) == [("tls", TLS)], "a port without a service"
    assert not listener.default_filter_chain.transport_socket.name
    assert "tls_inspector" in str(listener.listener_filters)


def test_tls_of_the_application_s_own_is_left_to_it() -> None:
    match = build(Mode.PERMISSIVE).filter_chains[2].filter_chain_match
    assert "istio" in match.application_protocols
    assert not {"h2", "http/1.1"} & set(match.application_protocols)


def test_a_silent_client_reaches_a_server_that_speaks_first() -> None:
    listener = build(Mode.PERMISSIVE)
    assert listener.continue_on_listener_filters_timeout
    assert 0 < listener.listener_filters_timeout.seconds < 10


def test_disabled_is_what_a_vm_without_an_identity_has() -> None:
    bare = inbound.build_inbound(Settings(own_addresses=(OWN,)), SERVICES)
    assert build(Mode.DISABLE) == bare


def test_a_port_may_have_a_mode_of_its_own() -> None:
    listener = build(Mode.STRICT, (3306, Mode.PERMISSIVE), (9090, Mode.DISABLE))
    assert chains(listener, 8080) == [("", TLS)]
    assert chains(listener, 3306) == [("tls", TLS), ("", "")]
    assert chains(listener, 9090) == [("", "")], "though no service is there"
    assert listener.default_filter_chain.transport_socket.name == TLS


def test_our_own_ports_lead_nowhere_in_any_mode() -> None:
    for mode in Mode:
        for port in (15001, 15006):
            assert chains(build(mode), port) == [("", "")]


def test_names_and_matches_of_chains_are_unique_as_envoy_wants_them() -> None:
    for mode in Mode:
        listener = build(mode, (3306, Mode.STRICT), (9090, Mode.PERMISSIVE))
        names = [chain.name for chain in listener.filter_chains]
        matches = [chain.filter_chain_match.SerializeToString() for chain in listener.filter_chains]
        assert len(set(names)) == len(names)
        assert len(set(matches)) == len(matches)


def test_a_document_changes_one_listener_and_its_end_changes_it_back() -> None:
    settings = Settings(
        own_addresses=(OWN,), trust_domain="example.org", mode=Mode.STRICT,
        policy=Policy(Mode.STRICT),
    )  # fmt: skip
    before = resources.build(MeshTable(), settings)
    said = PeerAuthentication("a", "default", "f", mode=Mode.PERMISSIVE)
    after, change = resources.update(before, Difference(peers=(said,)))
    assert [resource.name for resource in change.upserted] == [inbound.INBOUND]
    assert resources.build(MeshTable(peers=(said,)), settings).resources == after.resources
    back, change = resources.update(after, Difference(peers=()))
    assert back.resources == before.resources
    assert change
    assert not resources.update(back, Difference(peers=()))[1]


def test_a_document_means_nothing_to_a_vm_without_an_identity() -> None:
    before = resources.build(MeshTable(), Settings(own_addresses=(OWN,)))
    said = PeerAuthentication("a", "default", "f", mode=Mode.STRICT)
    assert not resources.update(before, Difference(peers=(said,)))[1]
