"""What is read of carried messages, against protobuf's own encoder."""

from __future__ import annotations

from time import perf_counter

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import status_pb2
from hypothesis import given
from hypothesis import strategies as st

from interceptor.sidecar import envelope
from interceptor.sidecar.envelope import Asked, Form, Told

CDS = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
LDS = "type.googleapis.com/envoy.config.listener.v3.Listener"
EDS = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
TEXT = st.text(max_size=200)


def packed(message: Message) -> any_pb2.Any:
    found = any_pb2.Any()
    found.Pack(message)
    return found


@given(TEXT, TEXT, TEXT.filter(bool), st.integers(0, 16), st.lists(TEXT, max_size=4))
def test_the_head_of_a_delta_request_is_read_whatever_is_around_it(
    url: str, nonce: str, reason: str, code: int, names: list[str]
) -> None:
    request = discovery_pb2.DeltaDiscoveryRequest(
        type_url=url, response_nonce=nonce, resource_names_subscribe=names
    )
    request.node.id = "sidecar~192.0.2.9~vm.ns~ns.svc.cluster.local"
    request.initial_resource_versions["a"] = "1"
    assert envelope.decode_request(Form.DELTA, request.SerializeToString()) == Asked(url, nonce)
    request.error_detail.CopyFrom(status_pb2.Status(code=code, message=reason))
    told = envelope.decode_request(Form.DELTA, request.SerializeToString())
    assert told == Asked(url, nonce, reason)


@given(TEXT, TEXT, TEXT, st.lists(TEXT, max_size=4))
def test_the_head_of_a_request_for_all_state_is_read(
    url: str, nonce: str, version: str, names: list[str]
) -> None:
    request = discovery_pb2.DiscoveryRequest(
        type_url=url, response_nonce=nonce, version_info=version, resource_names=names
    )
    request.node.id = "x"
    assert envelope.decode_request(Form.SOTW, request.SerializeToString()) == Asked(url, nonce)
    request.error_detail.message = "bad"
    assert envelope.decode_request(Form.SOTW, request.SerializeToString()).error == "bad"


def test_a_refusal_without_a_reason_is_still_one() -> None:
    request = discovery_pb2.DeltaDiscoveryRequest(type_url=CDS, error_detail=status_pb2.Status())
    assert envelope.decode_request(Form.DELTA, request.SerializeToString()).error


def test_resources_are_named_in_both_forms() -> None:
    bodies = [
        cluster_pb2.Cluster(name="outbound|80||a.b"),
        listener_pb2.Listener(name="10.0.0.1_80"),
        endpoint_pb2.ClusterLoadAssignment(cluster_name="outbound|80||c.d"),
    ]
    expected = ("outbound|80||a.b", "10.0.0.1_80", "outbound|80||c.d")
    sotw = discovery_pb2.DiscoveryResponse(
        version_info="7", type_url=CDS, nonce="n", canary=True, resources=map(packed, bodies)
    ).SerializeToString()
    assert envelope.names(Form.SOTW, sotw) == expected
    assert envelope.decode_response(Form.SOTW, sotw) == Told(CDS, "n")
    delta = discovery_pb2.DeltaDiscoveryResponse(
        type_url=CDS, nonce="n", system_version_info="7", removed_resources=["x", "y"]
    )
    for body, name in zip(bodies, (*expected[:2], ""), strict=True):  # the last names itself
        delta.resources.add(name=name, version="1", resource=packed(body))
    message = delta.SerializeToString()
    assert envelope.names(Form.DELTA, message) == expected
    assert envelope.removed(message) == ("x", "y")
    assert envelope.decode_response(Form.DELTA, message) == Told(CDS, "n")


@pytest.mark.parametrize("form", Form)
@given(st.binary(max_size=300))
def test_bytes_that_are_no_message_are_nothing_rather_than_an_error(
    form: Form, message: bytes
) -> None:
    envelope.decode_request(form, message)
    envelope.decode_response(form, message)
    envelope.names(form, message)
    envelope.removed(message)


def test_a_message_that_is_cut_short_is_read_as_far_as_it_goes() -> None:
    message = discovery_pb2.DiscoveryResponse(type_url=CDS, nonce="n").SerializeToString()
    assert envelope.decode_response(Form.SOTW, message[:-1]) == Told(CDS, "")


def test_the_head_of_a_hundred_megabytes_is_read_at_once() -> None:
    """Copying or parsing them would take longer."""
    body = any_pb2.Any(type_url=CDS, value=bytes(1 << 20))
    response = discovery_pb2.DiscoveryResponse(resources=[body] * 100, type_url=CDS, nonce="n")
    message = response.SerializeToString()
    began_s = perf_counter()
    assert envelope.decode_response(Form.SOTW, message) == Told(CDS, "n")
    assert perf_counter() - began_s < 0.5


def test_megabytes_that_are_no_message_are_not_walked_through() -> None:
    began_s = perf_counter()
    assert envelope.decode_response(Form.DELTA, bytes(50 << 20)) == Told()
    assert perf_counter() - began_s < 0.5


@pytest.mark.parametrize(
    ("url", "word"),
    [(CDS, "CLUSTER"), (LDS, "LISTENER"), (EDS, "ENDPOINT"), ("", "UNKNOWN"),
     ("type.googleapis.com/envoy.config.route.v3.RouteConfiguration", "ROUTE"),
     ("type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig", "EXTENSION"),
     ("type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret", "SECRET"),
     ("type.googleapis.com/istio.workload.Address", "ADDRESS")],
)  # fmt: skip
def test_a_type_has_a_word(url: str, word: str) -> None:
    assert envelope.kind(url) == word
