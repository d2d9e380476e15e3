"""Our few fields against Envoy's whole messages."""

from __future__ import annotations

import pytest
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.message import DecodeError

from interceptor.source import schema


def test_a_request_is_what_envoys_message_reads() -> None:
    request = schema.new_request(is_delta=True)
    request.type_url, request.response_nonce = "t", "n"
    request.error_detail.code, request.error_detail.message = 3, "no"
    found = discovery_pb2.DeltaDiscoveryRequest.FromString(request.SerializeToString())
    assert (found.type_url, found.response_nonce) == ("t", "n")
    assert (found.error_detail.code, found.error_detail.message) == (3, "no")


def test_fields_that_we_do_not_know_are_passed_over() -> None:
    made = discovery_pb2.DiscoveryResponse(version_info="1", type_url="t", nonce="n", canary=True)
    made.control_plane.identifier = "istiod"
    found = schema.decode_whole(made.SerializeToString())
    assert (found.version_info, found.type_url, found.nonce) == ("1", "t", "n")


def test_what_is_no_message_raises() -> None:
    for decode in (schema.decode_delta, schema.decode_table, schema.decode_entry):
        with pytest.raises(DecodeError):
            decode(b"\x0a\xff")
