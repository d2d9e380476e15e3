"""Tokens of our own authority."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.mesh.identity import SpiffeId
from interceptor.workload import bearer, token
from interceptor.workload.token import Grant, Refused

SECRET = b"k" * 32
WEB = SpiffeId("example.org", "vm", "web")
NOW = 1_700_000_000.0
GOOD = token.encode(Grant(WEB, NOW, NOW + 3600), SECRET)


def read(text: str, secret: bytes = SECRET, domain: str = "example.org", now_s: float = NOW) -> str:
    return token.decode(text, secret, domain, now_s).uri


def encoded(tree: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(tree).encode()).rstrip(b"=").decode()


def test_a_token_is_good_for_whom_it_was_given_to() -> None:
    assert read(GOOD) == "spiffe://example.org/ns/vm/sa/web"


def test_a_client_reads_in_it_what_it_reads_in_a_token_of_kubernetes() -> None:
    claims = bearer.decode(GOOD)
    assert (claims.subject, claims.audiences) == ("system:serviceaccount:vm:web", ("istio-ca",))
    assert claims.not_after_s == NOW + 3600


def test_another_authority_s_token_is_refused() -> None:
    with pytest.raises(Refused, match="not signed"):
        read(GOOD, secret=b"x" * 32)
    with pytest.raises(Refused, match="another trust domain"):
        read(GOOD, domain="example.com")


def test_a_token_ends() -> None:
    assert read(GOOD, now_s=NOW + 3599)
    with pytest.raises(Refused, match="expired"):
        read(GOOD, now_s=NOW + 3600 + token.SKEW_S)


@pytest.mark.parametrize("algorithm", ["none", "HS256", "RS256"])
def test_the_algorithm_that_a_token_names_decides_nothing(algorithm: str) -> None:
    claims = {"sub": "system:serviceaccount:vm:admin", "aud": ["istio-ca"], "exp": NOW + 60}
    for signature in ("", GOOD.rpartition(".")[2]):
        with pytest.raises(Refused, match="not signed"):
            read(f"{encoded({'alg': algorithm})}.{encoded(claims)}.{signature}")


@given(st.integers(0, len(GOOD) - 1), st.characters(codec="ascii"))
def test_a_token_that_was_changed_anywhere_is_refused(at: int, letter: str) -> None:
    changed = GOOD[:at] + letter + GOOD[at + 1 :]
    if changed != GOOD:
        with pytest.raises(Refused):
            read(changed)


@given(st.text(max_size=200))
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        read(text)
