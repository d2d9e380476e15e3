"""Tokens as they come, and as they come when something was lost on the way. PyJWT makes them."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.workload import bearer
from interceptor.workload.bearer import BearerError

CLAIMS = {
    "aud": ["istio-ca"],
    "exp": 2_000_000_000,
    "iss": "https://kubernetes.default.svc",
    "nbf": 1_700_000_000,
    "sub": "system:serviceaccount:vm:ratings",
}


def encode(claims: object, algorithm: str = "RS256", signature: bytes = bytes(256)) -> str:
    """RFC 7515 §7.1, with a signature that nobody looks at."""
    parts = [json.dumps(part).encode() for part in ({"alg": algorithm}, claims)]
    return ".".join(
        base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (*parts, signature)
    )


def test_claims_are_read() -> None:
    found = bearer.decode(encode(CLAIMS) + "\n")
    assert (found.namespace, found.service_account) == ("vm", "ratings")
    assert found.audiences == ("istio-ca",)
    assert (found.not_before_s, found.not_after_s) == (1_700_000_000, 2_000_000_000)
    assert found.issuer == "https://kubernetes.default.svc"


def test_one_audience_may_stand_alone_and_an_end_may_be_missing() -> None:
    found = bearer.decode(encode({"aud": "istio-ca", "sub": "somebody"}))
    assert found.audiences == ("istio-ca",)
    assert found.not_after_s is None
    assert (found.namespace, found.service_account) == ("", "")


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "HS256"])
def test_a_signature_that_was_cut_off_is_told(algorithm: str) -> None:
    whole = {"RS256": 256, "ES256": 64, "HS256": 32}[algorithm]
    bearer.decode(encode(CLAIMS, algorithm, bytes(whole)))
    with pytest.raises(BearerError, match="signature"):
        bearer.decode(encode(CLAIMS, algorithm, bytes(whole - 3)))


@given(st.integers(0, len(encode(CLAIMS)) - 1))
def test_any_token_that_is_cut_off_is_told_and_never_shown(length: int) -> None:
    token = encode(CLAIMS)[:length]
    with pytest.raises(BearerError) as told:
        bearer.decode(token)
    assert token == "" or len(token) < 12 or token not in str(told.value)


@given(st.text())
def test_what_is_no_token_is_told(text: str) -> None:
    with pytest.raises(BearerError):
        bearer.decode(text)
