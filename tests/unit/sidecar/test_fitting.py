"""An Envoy gets what it has: a real istiod's answers, fitted; nothing of security is left out."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import base_pb2
from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import any_pb2

from interceptor.sidecar import fitting
from interceptor.sidecar.envelope import Form
from interceptor.sidecar.fitting import OPTIONAL, Fitting

RECORDED = Path(__file__).parents[2] / "data/istiod"
PLAIN = Fitting(frozenset(OPTIONAL))


def answers(form: Form) -> list[bytes]:
    """What a real istiod said."""
    name = "delta" if form is Form.DELTA else "sotw"
    tree = json.loads((RECORDED / f"{name}.json").read_text())
    return [base64.b64decode(each["message"]) for each in tree["answers"]]


def resources(form: Form, message: bytes) -> list[any_pb2.Any]:
    if form is Form.DELTA:
        found = discovery_pb2.DeltaDiscoveryResponse.FromString(message).resources
        return [each.resource for each in found]
    return list(discovery_pb2.DiscoveryResponse.FromString(message).resources)


def head(form: Form, message: bytes) -> bytes:
    """All but the resources' bodies."""
    is_delta = form is Form.DELTA
    kind = discovery_pb2.DeltaDiscoveryResponse if is_delta else discovery_pb2.DiscoveryResponse
    one = kind.FromString(message)
    for each in one.resources:
        (each.resource if is_delta else each).ClearField("value")
    return bytes(one.SerializeToString(deterministic=True))


@pytest.mark.parametrize("form", Form)
def test_istiods_answers_lose_what_only_its_own_envoy_has_and_nothing_else(form: Form) -> None:
    lost = 0
    for message in answers(form):
        fitted = PLAIN.fit(form, message)
        assert head(form, fitted) == head(form, message), "nonces, versions and names stay"
        for was, now in zip(resources(form, message), resources(form, fitted), strict=True):
            names = [name for name in OPTIONAL if name.encode() in was.value]
            lost += bool(names)
            assert not any(name.encode() in now.value for name in OPTIONAL)
            assert (was.value == now.value) == (not names and b"peer-exchange" not in was.value)
            for kept in (b"envoy.filters.network.tcp_proxy", b"envoy.filters.http.router"):
                assert was.value.count(kept) == now.value.count(kept)
    assert lost >= 6


@pytest.mark.parametrize("form", Form)
def test_an_envoy_that_has_it_all_gets_the_very_bytes(form: Form) -> None:
    for message in answers(form):
        assert Fitting().fit(form, message) is message


def test_bytes_that_are_no_message_are_carried_as_they_are() -> None:
    torn = answers(Form.SOTW)[0][:-3]
    assert PLAIN.fit(Form.SOTW, torn) is torn


def test_a_filter_that_decides_is_not_left_out() -> None:
    filters = [listener_components_pb2.Filter(name=name) for name in ("istio_authn", "istio.stats")]
    chain = listener_components_pb2.FilterChain(filters=filters)
    listener = any_pb2.Any()
    listener.Pack(listener_pb2.Listener(name="istio", filter_chains=[chain]))
    message = discovery_pb2.DiscoveryResponse(resources=[listener]).SerializeToString()
    (now,) = resources(Form.SOTW, PLAIN.fit(Form.SOTW, message))
    kept = listener_pb2.Listener.FromString(now.value).filter_chains[0].filters
    assert [each.name for each in kept] == ["istio_authn"]


def test_whoever_has_no_exchange_does_not_offer_it() -> None:
    context = tls_pb2.UpstreamTlsContext(sni="outbound_.80_._.a.example")
    context.common_tls_context.alpn_protocols.extend([fitting.EXCHANGE, "istio"])
    socket = base_pb2.TransportSocket(name="envoy.transport_sockets.tls")
    socket.typed_config.Pack(context)
    cluster = cluster_pb2.Cluster(name="a", transport_socket=socket)
    body = any_pb2.Any()
    body.Pack(cluster)
    message = discovery_pb2.DiscoveryResponse(resources=[body]).SerializeToString()
    (now,) = resources(Form.SOTW, PLAIN.fit(Form.SOTW, message))
    fitted = cluster_pb2.Cluster.FromString(now.value).transport_socket.typed_config
    found = tls_pb2.UpstreamTlsContext.FromString(fitted.value)
    assert list(found.common_tls_context.alpn_protocols) == ["istio"]
    assert found.sni == context.sni
    with_exchange = Fitting(frozenset({"istio.alpn"}))
    assert with_exchange.fit(Form.SOTW, message) is message


@pytest.mark.parametrize("form", Form)
def test_what_an_envoy_has_is_what_it_says_of_itself(form: Form) -> None:
    is_delta = form is Form.DELTA
    kind = discovery_pb2.DeltaDiscoveryRequest if is_delta else discovery_pb2.DiscoveryRequest
    request = kind()
    assert fitting.choose(form, request.SerializeToString()) is None
    request.node.extensions.add(name="istio.metadata_exchange")
    found = fitting.choose(form, request.SerializeToString())
    assert found == Fitting(frozenset({"istio.stats", "istio.alpn"}))
    assert fitting.choose(form, b"\xff") is None
