"""The two messages, against bytes written by protobuf's own rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.workload import issuance
from interceptor.workload.certificate import CertificateError
from interceptor.workload.issuance import Order


def test_a_request_has_the_numbers_of_its_fields() -> None:
    order = Order(b"csr", 86400, {"CertSigner": "x"})
    entry = b"\x0a\x0aCertSigner\x12\x03\x1a\x01x"  # Struct.fields: key, Value.string_value
    struct = b"\x0a" + bytes([len(entry)]) + entry
    wanted = b"\x0a\x03csr" + b"\x18\x80\xa3\x05" + b"\x22" + bytes([len(struct)]) + struct
    assert issuance.encode_request(order) == wanted
    assert issuance.decode_request(wanted) == order


def test_a_response_is_its_texts() -> None:
    wanted = b"\x0a\x04leaf\x0a\x04root"
    assert issuance.encode_response([b"leaf", b"root"]) == wanted
    assert issuance.decode_response(wanted) == (b"leaf", b"root")


@given(st.binary())
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for decode in (issuance.decode_request, issuance.decode_response):
        try:
            decode(data)
        except CertificateError:
            pass


def test_bytes_that_are_no_message_are_refused_with_a_reason() -> None:
    with pytest.raises(CertificateError, match="IstioCertificateResponse"):
        issuance.decode_response(b"\x0a\xff")
