"""What certificates say, and whether they hold (X.509, RFC 5280; X.509-SVID of SPIFFE).

This and `signing` import cryptography, whose versions from 38 on all do; when first needed, for it
costs time and memory that a member without an identity does not pay.

Times are seconds since 1970, as certificates are dated by somebody else's clock.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from interceptor.errors import InterceptorError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

PEM_LIMIT_BYTES = 1 << 20  # a chain has some 2 KB a certificate
CHAIN_LIMIT = 64  # certificates; what is longer is no chain but an attack
WEAK = ("md5", "sha1")
_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class CertificateError(InterceptorError):
    """A certificate, request or key is not what it should be; the message says in what."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says. ``uris`` and ``dns`` are its subject alternative names,
    ``public_key`` DER (SubjectPublicKeyInfo), ``fingerprint`` SHA-256 in hexadecimal, ``hosts``
    DNS names and addresses alike."""

    pem: bytes
    uris: tuple[str, ...]
    hosts: tuple[str, ...]
    subject: str
    issuer: str
    not_before_s: float
    not_after_s: float
    fingerprint: str
    is_authority: bool
    public_key: bytes

    @property
    def spiffe(self) -> str:
        """The SPIFFE ID; empty where it has none, or more than one."""
        found = [uri for uri in self.uris if uri.startswith("spiffe://")]
        return found[0] if len(found) == 1 else ""


def now_s() -> float:
    """This host's clock, by which certificates are judged. It may be wrong, and may jump."""
    return time.time()


def date(moment_s: float) -> str:
    """For people: UTC, to the second."""
    try:
        return datetime.fromtimestamp(moment_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"{moment_s:.0f} s after 1970"


def load_key(key_pem: bytes) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    """A private key of PEM. Raises CertificateError, which never shows the key."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    try:
        key = serialization.load_pem_private_key(key_pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise CertificateError("not a private key in PEM without a password") from None
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise CertificateError("the private key must be RSA or ECDSA")
    return key


def split(pem: bytes) -> list[bytes]:
    """Each certificate of a text by itself; what stands between is left out."""
    if len(pem) > PEM_LIMIT_BYTES:
        raise CertificateError(f"{len(pem)} bytes of certificates: {PEM_LIMIT_BYTES} are the limit")
    found = [block + b"\n" for block in _BLOCK.findall(pem)]
    if len(found) > CHAIN_LIMIT:
        raise CertificateError(f"{len(found)} certificates: {CHAIN_LIMIT} are the limit")
    return found


def read(pem: bytes) -> tuple[Certificate, ...]:
    """Every certificate of a PEM text, in its order. Raises CertificateError for one that cannot
    be read, and where there is none."""
    found = tuple(_describe(block) for block in split(pem))
    if not found:
        raise CertificateError("no certificate in PEM is there")
    return found


def load(pem: bytes) -> x509.Certificate:
    """One certificate of PEM. Raises CertificateError."""
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificate(pem)
    except unreadable() as error:
        raise CertificateError(f"a certificate cannot be read: {error}") from error


def _describe(pem: bytes) -> Certificate:
    from cryptography.hazmat.primitives import hashes

    found = load(pem)
    try:
        begins, ends = _times(found)
        return Certificate(
            pem=pem,
            uris=tuple(uris_of(found.extensions)),
            hosts=tuple(hosts_of(found.extensions)),
            subject=found.subject.rfc4514_string(),
            issuer=found.issuer.rfc4514_string(),
            not_before_s=begins,
            not_after_s=ends,
            fingerprint=found.fingerprint(hashes.SHA256()).hex(),
            is_authority=_is_authority(found),
            public_key=public_bytes_of(found),
        )
    except unreadable() as error:
        raise CertificateError(f"a certificate cannot be read: {error}") from error


def unreadable() -> tuple[type[Exception], ...]:
    """What cryptography raises for bytes that are no proper certificate."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm

    odd = (x509.DuplicateExtension, x509.UnsupportedGeneralNameType, x509.InvalidVersion)
    return (ValueError, TypeError, KeyError, OverflowError, UnsupportedAlgorithm, *odd)


def _times(found: x509.Certificate) -> tuple[float, float]:
    """First and last moment. Before 42 these came without a time zone."""
    moments = []
    for name in ("not_valid_before", "not_valid_after"):
        moment: datetime = getattr(found, f"{name}_utc", None) or getattr(found, name)
        moments.append(moment.replace(tzinfo=UTC).timestamp())
    return moments[0], moments[1]


def _alternative_names(extensions: x509.Extensions) -> x509.SubjectAlternativeName | None:
    from cryptography import x509

    try:
        return extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


def uris_of(extensions: x509.Extensions) -> Iterable[str]:
    from cryptography import x509

    names = _alternative_names(extensions)
    return names.get_values_for_type(x509.UniformResourceIdentifier) if names is not None else ()


def hosts_of(extensions: x509.Extensions) -> Iterable[str]:
    from cryptography import x509

    names = _alternative_names(extensions)
    if names is None:
        return ()
    addresses = names.get_values_for_type(x509.IPAddress)
    return [*names.get_values_for_type(x509.DNSName), *map(str, addresses)]


def _is_authority(found: x509.Certificate) -> bool:
    """Whether it may sign others (RFC 5280 §4.2.1.3, §4.2.1.9)."""
    from cryptography import x509

    try:
        if not found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
        return found.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound as missing:
        return missing.oid == x509.KeyUsage.oid


def public_bytes_of(of: x509.Certificate | x509.CertificateSigningRequest) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return of.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def fits(key_pem: bytes, certificate: Certificate) -> bool:
    """Whether the certificate is this private key's."""
    from cryptography.hazmat.primitives import serialization

    own = load_key(key_pem).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return own.public_bytes(serialization.Encoding.DER, form) == certificate.public_key


def is_signed_by(child: Certificate, parent: Certificate) -> bool:
    """Whether the parent's key has signed the child, and its name is the child's issuer."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

    below, above = load(child.pem), load(parent.pem)
    if below.issuer != above.subject:
        return False
    try:
        key, by = above.public_key(), below.signature_hash_algorithm
        signed = (below.signature, below.tbs_certificate_bytes)
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(*signed)
        elif by is None or by.name in WEAK:
            return False
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(*signed, padding.PKCS1v15(), by)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(*signed, ec.ECDSA(by))
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def find_root(chain: Sequence[Certificate], roots: Sequence[Certificate]) -> Certificate | None:
    """The root that a chain leads to: its first certificate is looked at, the others are what it
    may go by, in any order. None: to none of ``roots``. Times are not looked at."""
    at, others = chain[0], [each for each in chain[1:] if each.is_authority]
    while True:
        for root in roots:
            if root.is_authority and (at.pem == root.pem or is_signed_by(at, root)):
                return root
        above = next((each for each in others if is_signed_by(at, each)), None)
        if above is None:
            return None
        others.remove(above)
        at = above
