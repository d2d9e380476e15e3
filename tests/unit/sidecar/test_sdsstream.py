"""One stream of secrets, in both forms, with requests as protobuf writes them."""

from __future__ import annotations

import pytest
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from envoy.service.discovery.v3 import discovery_pb2
from google.rpc import status_pb2
from hypothesis import given
from hypothesis import strategies as st

from interceptor.sidecar import sdsstream
from interceptor.sidecar.sdsstream import TYPE, Form, SdsError, Secret, Stream

PAIR = sdsstream.build_pair("default", b"key", b"chain")
ROOTS = sdsstream.build_roots("ROOTCA", b"roots")
BOTH = {each.name: each for each in (PAIR, ROOTS)}


def whole(*names: str, **more: object) -> bytes:
    request = discovery_pb2.DiscoveryRequest(resource_names=names, type_url=TYPE, **more)
    data: bytes = request.SerializeToString()
    return data


def delta(**more: object) -> bytes:
    data: bytes = discovery_pb2.DeltaDiscoveryRequest(type_url=TYPE, **more).SerializeToString()
    return data


def read(secret: Secret) -> secret_pb2.Secret:
    return secret_pb2.Secret.FromString(secret.body)


def test_secrets_are_envoy_s() -> None:
    pair, roots = read(PAIR), read(ROOTS)
    assert pair.tls_certificate.private_key.inline_bytes == b"key"
    assert pair.tls_certificate.certificate_chain.inline_bytes == b"chain"
    assert roots.validation_context.trusted_ca.inline_bytes == b"roots"
    assert PAIR.version != sdsstream.build_pair("default", b"key", b"other").version


def test_the_whole_is_sent_once_and_again_when_it_changes() -> None:
    stream = Stream(Form.WHOLE)
    stream.receive(whole("default"))
    first = discovery_pb2.DiscoveryResponse.FromString(stream.poll(BOTH))
    assert (first.type_url, len(first.resources)) == (TYPE, 1)
    secret = secret_pb2.Secret()
    assert first.resources[0].Unpack(secret)
    assert secret.name == "default"
    stream.receive(whole("default", response_nonce=first.nonce, version_info=first.version_info))
    assert (stream.acked, stream.poll(BOTH)) == (1, None)
    fresh = BOTH | {"default": sdsstream.build_pair("default", b"key2", b"chain2")}
    second = discovery_pb2.DiscoveryResponse.FromString(stream.poll(fresh))
    assert second.version_info != first.version_info
    assert second.nonce != first.nonce


def test_what_is_not_there_yet_is_waited_for_and_never_taken_away() -> None:
    stream = Stream(Form.WHOLE)
    stream.receive(whole("default"))
    assert stream.poll({}) is None
    assert stream.poll(BOTH) is not None
    assert stream.poll({}) is None


def test_a_stream_that_begins_anew_gets_all_anew() -> None:
    stream = Stream(Form.WHOLE)
    for _ in range(2):
        stream.receive(whole("default"))
        assert stream.poll(BOTH) is not None


def test_delta_sends_what_has_changed_alone() -> None:
    stream = Stream(Form.DELTA)
    stream.receive(delta(resource_names_subscribe=["default", "ROOTCA"]))
    first = discovery_pb2.DeltaDiscoveryResponse.FromString(stream.poll(BOTH))
    assert [each.name for each in first.resources] == ["ROOTCA", "default"]
    fresh = BOTH | {"ROOTCA": sdsstream.build_roots("ROOTCA", b"more")}
    second = discovery_pb2.DeltaDiscoveryResponse.FromString(stream.poll(fresh))
    assert [each.name for each in second.resources] == ["ROOTCA"]
    stream.receive(delta(resource_names_unsubscribe=["ROOTCA"], response_nonce=second.nonce))
    assert stream.poll(BOTH) is None
    assert not second.removed_resources


def test_delta_does_not_send_what_a_client_has_from_before() -> None:
    stream = Stream(Form.DELTA)
    versions = {"default": PAIR.version, "ROOTCA": "old"}
    names = ["default", "ROOTCA"]
    stream.receive(delta(resource_names_subscribe=names, initial_resource_versions=versions))
    response = discovery_pb2.DeltaDiscoveryResponse.FromString(stream.poll(BOTH))
    assert [each.name for each in response.resources] == ["ROOTCA"]


def test_a_refusal_is_told_and_not_answered_by_the_same() -> None:
    stream = Stream(Form.WHOLE)
    stream.receive(whole("default"))
    stream.poll(BOTH)
    error = status_pb2.Status(code=13, message="bad key")
    refusal = stream.receive(whole("default", response_nonce="1", error_detail=error))
    assert refusal == sdsstream.Refusal(("default",), "bad key")
    assert (stream.acked, stream.refused, stream.poll(BOTH)) == (0, 1, None)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff",
        discovery_pb2.DiscoveryRequest(type_url="type.googleapis.com/x").SerializeToString(),
        whole(*map(str, range(sdsstream.NAMES_LIMIT + 1))),
        whole("x" * (sdsstream.NAME_LIMIT + 1)),
    ],
)
def test_what_is_no_request_for_secrets_is_refused(data: bytes) -> None:
    with pytest.raises(SdsError):
        Stream(Form.WHOLE).receive(data)


@given(st.sampled_from(Form), st.lists(st.binary(max_size=80), max_size=6))
def test_any_bytes_are_taken_or_refused(form: Form, requests: list[bytes]) -> None:
    stream = Stream(form)
    for data in requests:
        try:
            stream.receive(data)
        except SdsError:
            return
        stream.poll(BOTH)
