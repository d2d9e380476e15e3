"""How Envoy speaks mutual TLS to members."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import base_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, tls_pb2

from interceptor.mesh.model import AppProtocol, Endpoint, Host, Kind, Port, Resolution
from interceptor.sidecar import cluster, endpoint, mtls
from interceptor.sidecar.setting import Settings

SETTINGS = Settings(trust_domain="example.org")
PORT = Port("http", 80, AppProtocol.HTTP)
WEB, SHOP = "ns/vm/sa/web", "ns/vm/sa/shop"
PLAIN = Endpoint(ip_address("192.0.2.1"))
FIRST = Endpoint(ip_address("192.0.2.2"), identity=WEB)
SECOND = Endpoint(ip_address("192.0.2.3"), identity=SHOP)
HOST = Host("web.vm", "vm", Kind.SERVICE, (), (PORT,), (PLAIN, FIRST))


def upstream(socket: base_pb2.TransportSocket) -> tls_pb2.UpstreamTlsContext:
    context = tls_pb2.UpstreamTlsContext()
    assert socket.typed_config.Unpack(context)
    return context


def names(socket: base_pb2.TransportSocket) -> list[str]:
    combined = upstream(socket).common_tls_context.combined_validation_context
    matchers = combined.default_validation_context.match_typed_subject_alt_names
    return [matcher.matcher.exact for matcher in matchers]


def made(host: Host, port: Port = PORT) -> cluster_pb2.Cluster:
    return cluster.build(host, port, SETTINGS)


@pytest.mark.parametrize(
    "host",
    [replace(HOST, endpoints=(PLAIN,)), replace(HOST, mesh_external=True)],
    ids=["nobody speaks it", "outside the mesh"],
)
def test_a_cluster_stays_plain_where_nobody_of_the_mesh_speaks_tls(host: Host) -> None:
    assert made(host) == cluster.build(host, PORT, Settings())
    assert not mtls.is_used(host, SETTINGS)


def test_without_an_identity_of_our_own_everything_is_as_ever() -> None:
    bare = replace(HOST, endpoints=(PLAIN, replace(FIRST, identity="")))
    assert cluster.build(HOST, PORT, Settings()) == cluster.build(bare, PORT, Settings())
    assert endpoint.build("a", HOST, PORT) == endpoint.build("a", bare, PORT)


def test_each_endpoint_is_spoken_to_as_it_wants() -> None:
    tls, plain = made(HOST).transport_socket_matches
    assert dict(tls.match.items()) == {"tlsMode": "istio"}
    assert tls.transport_socket.name == "envoy.transport_sockets.tls"
    assert not plain.match.fields
    assert plain.transport_socket.name == "envoy.transport_sockets.raw_buffer"
    (group,) = endpoint.build("a", HOST, PORT, is_secure=True).endpoints
    marks = [
        dict(member.metadata.filter_metadata["envoy.transport_socket_match"].items())
        for member in group.lb_endpoints
    ]
    assert marks == [{}, {"tlsMode": "istio", "identity": WEB}]


def test_the_server_must_be_who_the_mesh_says() -> None:
    tls = made(HOST).transport_socket_matches[0]
    assert names(tls.transport_socket) == ["spiffe://example.org/ns/vm/sa/web"]


def test_each_account_of_a_service_is_held_to_its_own_name() -> None:
    shop, web, _ = made(replace(HOST, endpoints=(FIRST, SECOND))).transport_socket_matches
    assert dict(shop.match.items()) == {"tlsMode": "istio", "identity": SHOP}
    assert names(shop.transport_socket) == [f"spiffe://example.org/{SHOP}"]
    assert dict(web.match.items()) == {"tlsMode": "istio"}, "a name that is news is not plain text"
    assert names(web.transport_socket) == [f"spiffe://example.org/{WEB}"]


def test_names_that_a_service_entry_gives_count_instead() -> None:
    given = ("spiffe://other.org/db", "db.example.org")
    host = replace(HOST, endpoints=(FIRST, SECOND), subject_alt_names=given)
    tls, _ = made(host).transport_socket_matches
    assert names(tls.transport_socket) == list(given)
    kinds = upstream(tls.transport_socket).common_tls_context.combined_validation_context
    uri, dns = kinds.default_validation_context.match_typed_subject_alt_names
    assert uri.san_type == common_pb2.SubjectAltNameMatcher.URI
    assert dns.san_type == common_pb2.SubjectAltNameMatcher.DNS


def test_the_first_bytes_on_the_wire_are_those_of_istio() -> None:
    context = upstream(made(HOST).transport_socket_matches[0].transport_socket)
    assert context.sni == "outbound_.80_._.web.vm"
    assert list(context.common_tls_context.alpn_protocols) == ["istio"]
    grpc = Port("grpc", 80, AppProtocol.GRPC)
    context = upstream(made(HOST, grpc).transport_socket_matches[0].transport_socket)
    assert list(context.common_tls_context.alpn_protocols) == ["istio", "h2"]


def test_a_name_that_is_too_long_for_sni_goes_without() -> None:
    long = replace(HOST, name=".".join(["a" * 61] * 4))
    assert upstream(made(long).transport_socket_matches[0].transport_socket).sni == ""


def test_old_versions_and_ciphers_without_forward_secrecy_are_not_spoken() -> None:
    contexts = [upstream(made(HOST).transport_socket_matches[0].transport_socket)]
    served = tls_pb2.DownstreamTlsContext()
    assert mtls.downstream("example.org").typed_config.Unpack(served)
    assert served.require_client_certificate.value
    for context in (*contexts, served):
        parameters = context.common_tls_context.tls_params
        assert parameters.tls_minimum_protocol_version == common_pb2.TlsParameters.TLSv1_2
        assert all(name.startswith("ECDHE-") and "GCM" in name for name in parameters.cipher_suites)


def test_certificates_come_from_the_secrets_that_the_bootstrap_knows() -> None:
    common = upstream(made(HOST).transport_socket_matches[0].transport_socket).common_tls_context
    (own,) = common.tls_certificate_sds_secret_configs
    root = common.combined_validation_context.validation_context_sds_secret_config
    assert (own.name, root.name) == ("default", "ROOTCA")
    for secret in (own, root):
        (service,) = secret.sds_config.api_config_source.grpc_services
        assert service.envoy_grpc.cluster_name == "sds-grpc"


def test_an_endpoint_that_is_a_name_is_marked_too() -> None:
    named = Endpoint("web.example.org", identity=WEB)
    found = made(replace(HOST, resolution=Resolution.DNS, endpoints=(named,)))
    (group,) = found.load_assignment.endpoints
    assert group.lb_endpoints[0].metadata.filter_metadata
    assert len(found.transport_socket_matches) == 2


def test_of_a_headless_service_all_speak_tls_or_none() -> None:
    headless = replace(HOST, kind=Kind.HEADLESS)
    assert not made(headless).HasField("transport_socket")
    both = made(replace(headless, endpoints=(FIRST, SECOND)))
    assert sorted(names(both.transport_socket)) == [
        f"spiffe://example.org/{path}" for path in (SHOP, WEB)
    ]
    assert not both.transport_socket_matches


def test_behind_a_gateway_any_account_of_the_service_may_answer() -> None:
    """A gateway is one endpoint, and which of those behind it answers is not ours to choose."""
    far = replace(SECOND, network="far", gateways=((ip_address("198.51.100.1"), 15443),))
    tls, plain = made(replace(HOST, endpoints=(FIRST, far))).transport_socket_matches
    assert names(tls.transport_socket) == [
        f"spiffe://example.org/{SHOP}",
        f"spiffe://example.org/{WEB}",
    ]
    assert dict(tls.match.items()) == {"tlsMode": "istio"}
    assert upstream(tls.transport_socket).sni == "outbound_.80_._.web.vm"
    assert plain.name == "tlsMode-disabled"
