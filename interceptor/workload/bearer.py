"""What a bearer token says (JWT, RFC 7519, in JWS compact form, RFC 7515), without a proof of it.

PURE. Only who issued a token can tell whether it is good; but one that was cut off, has ended, or
is somebody else's can be told before anybody is asked.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass

AUDIENCE = "istio-ca"
"""For whom istiod takes tokens, unless it is told otherwise."""
ACCOUNT = "system:serviceaccount:"
_SIGNATURE_BYTES = {"ES256": 64, "ES384": 96, "ES512": 132, "EdDSA": 64, "HS256": 32}
_RSA_BYTES = (256, 384, 512, 1024)  # of keys that are in use; PS256 as RS256


class BearerError(ValueError):
    """This is no whole token; the message says why, and never shows it."""


@dataclass(frozen=True, slots=True)
class Claims:
    """Times in seconds since 1970; ``not_after_s`` is None where it never ends. ``namespace`` and
    ``service_account`` are empty where the subject is no service account of Kubernetes' form."""

    issuer: str
    subject: str
    audiences: tuple[str, ...]
    not_before_s: float | None
    not_after_s: float | None

    @property
    def namespace(self) -> str:
        return self._account()[0]

    @property
    def service_account(self) -> str:
        return self._account()[1]

    def _account(self) -> tuple[str, str]:
        if not self.subject.startswith(ACCOUNT):
            return "", ""
        namespace, _, account = self.subject.removeprefix(ACCOUNT).partition(":")
        return namespace, account


def decode(token: str) -> Claims:
    """Its claims. Raises BearerError for what is no token, or not the whole of one."""
    parts = token.strip().split(".")
    if len(parts) != 3:
        raise BearerError(f"{len(parts)} parts with dots between, not 3: HEADER.CLAIMS.SIGNATURE")
    header, claims = _object(parts[0], "header"), _object(parts[1], "claims")
    _check_signature(str(header.get("alg", "")), _bytes(parts[2], "signature"))
    audience = claims.get("aud")
    return Claims(
        issuer=str(claims.get("iss", "")),
        subject=str(claims.get("sub", "")),
        audiences=tuple(map(str, audience if isinstance(audience, list) else [audience]))
        if audience
        else (),
        not_before_s=_time(claims, "nbf"),
        not_after_s=_time(claims, "exp"),
    )


def _bytes(part: str, what: str) -> bytes:
    try:
        return base64.b64decode(part + "=" * (-len(part) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise BearerError(f"its {what} is cut off, or no base64url") from error


def _object(part: str, what: str) -> Mapping[str, object]:
    try:
        found = json.loads(_bytes(part, what))
    except (ValueError, RecursionError) as error:
        if isinstance(error, BearerError):
            raise
        raise BearerError(f"its {what} is cut off, or no JSON") from error
    if not isinstance(found, dict):
        raise BearerError(f"its {what} is no JSON object")
    return found


def _check_signature(algorithm: str, signature: bytes) -> None:
    wanted = _SIGNATURE_BYTES.get(algorithm)
    if wanted is not None and len(signature) != wanted:
        raise BearerError(f"its signature has {len(signature)} bytes, {algorithm} has {wanted}")
    if algorithm.startswith(("RS", "PS")) and len(signature) not in _RSA_BYTES:
        raise BearerError(f"its signature is cut off: {len(signature)} bytes ({algorithm})")
    if not signature:
        raise BearerError("it has no signature")


def _time(claims: Mapping[str, object], key: str) -> float | None:
    value = claims.get(key)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else None  # type: ignore[arg-type]
