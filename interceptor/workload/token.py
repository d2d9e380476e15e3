"""Tokens that our own authority gives to members-to-be: JWT (RFC 7519) signed with HS256.

Who signs is who checks, so one secret of the authority's is enough. PURE. `bearer` reads what a
token says without the secret.
"""

from __future__ import annotations

import base64
import hmac
import json
from dataclasses import dataclass
from hashlib import sha256

from interceptor.mesh.identity import SpiffeId
from interceptor.workload import bearer

ALGORITHM = "HS256"
LONGEST = 4096  # characters; ours have some 400
SKEW_S = 30.0  # a clock may be wrong by, between the host that made a token and the one that reads


class Refused(Exception):
    """A token is not good; the message says why, and shows nothing of it."""


@dataclass(frozen=True, slots=True)
class Grant:
    """To whom a token is given. Times in seconds since 1970."""

    member: SpiffeId
    issued_s: float
    not_after_s: float


def encode(grant: Grant, secret: bytes) -> str:
    """The token of a grant."""
    member = grant.member
    claims = {
        "iss": issuer(member.trust_domain),
        "aud": [bearer.AUDIENCE],
        "sub": f"{bearer.ACCOUNT}{member.namespace}:{member.service_account}",
        "iat": int(grant.issued_s),
        "exp": int(grant.not_after_s),
    }
    text = f"{_part({'alg': ALGORITHM, 'typ': 'JWT'})}.{_part(claims)}"
    return f"{text}.{_base64(_seal(text, secret))}"


def decode(token: str, secret: bytes, trust_domain: str, now_s: float) -> SpiffeId:
    """The member that a token was given to. Raises Refused.

    The signature comes first and is compared in constant time; nothing that a
    token says is believed before. The algorithm is ours, whatever it names.
    """
    if len(token) > LONGEST or not token.isascii():
        raise Refused("the token is none of this authority's")
    text, _, signature = token.rpartition(".")
    if not hmac.compare_digest(signature.encode(), _base64(_seal(text, secret)).encode()):
        raise Refused("the token is not signed by this authority")
    claims = bearer.decode(token)
    if claims.issuer != issuer(trust_domain):
        raise Refused("the token is for another trust domain")
    if bearer.AUDIENCE not in claims.audiences:
        raise Refused(f"the token is not for the audience {bearer.AUDIENCE}")
    if claims.not_after_s is None or claims.not_after_s <= now_s - SKEW_S:
        raise Refused("the token has expired")
    if not (claims.namespace and claims.service_account):
        raise Refused("the token names no service account")
    return SpiffeId(trust_domain, claims.namespace, claims.service_account)


def issuer(trust_domain: str) -> str:
    """The claim ``iss`` of every token of an authority."""
    return f"interceptor-authority.{trust_domain}"


def _seal(text: str, secret: bytes) -> bytes:
    return hmac.digest(secret, text.encode(), sha256)


def _part(claims: dict[str, object]) -> str:
    return _base64(json.dumps(claims, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    """base64url without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
