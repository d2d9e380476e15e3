"""Private keys, requests for certificates, and the certificates that our own authority gives.

Requests are PKCS #10 (RFC 2986), keys PKCS #8 without a password, everything in PEM.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING, Literal

from interceptor.workload.certificate import (
    PEM_LIMIT_BYTES,
    CertificateError,
    date,
    hosts_of,
    load,
    load_key,
    public_bytes_of,
    read,
    unreadable,
    uris_of,
)

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

KeyKind = Literal["rsa-2048", "ecdsa-p256"]
KINDS: tuple[KeyKind, ...] = ("rsa-2048", "ecdsa-p256")
RSA_BITS = 2048


@dataclass(frozen=True, slots=True)
class Request:
    """A certificate signing request (PKCS #10, RFC 2986) whose own signature is right."""

    uris: tuple[str, ...]
    hosts: tuple[str, ...]
    public_key: bytes


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs: a private key and the certificate that it belongs to."""

    key: bytes = field(repr=False)
    certificate: bytes


@dataclass(frozen=True, slots=True)
class Leaf:
    """A certificate to be given. ``public_key`` as in `Request`; ``hosts`` are DNS names and
    addresses. Times in seconds since 1970; it ends no later than its signer's."""

    public_key: bytes
    uris: tuple[str, ...]
    not_before_s: float
    not_after_s: float
    hosts: tuple[str, ...] = ()


def make_key(kind: KeyKind) -> bytes:
    """A private key, PKCS #8 in PEM without a password. RSA takes some 0.1 s."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    if kind == "rsa-2048":
        key = rsa.generate_private_key(65537, RSA_BITS)
    else:
        key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def build_csr(key_pem: bytes, uri: str) -> bytes:
    """A request for a certificate that names ``uri`` only, in PEM. Its subject is empty, so the
    name is critical (RFC 5280 §4.2.1.6), as Istio's agent has it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    made = builder.add_extension(names, critical=True).sign(load_key(key_pem), hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM)


def read_request(csr_pem: bytes) -> Request:
    """A request as somebody sent it. Raises CertificateError for bytes that are none, a signature
    that does not fit, and a key that is too weak."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    if len(csr_pem) > PEM_LIMIT_BYTES:
        raise CertificateError("the request is too long")
    try:
        found = x509.load_pem_x509_csr(csr_pem)
        key = found.public_key()
        if not found.is_signature_valid:
            raise CertificateError("the request is not signed by its own key")
        if isinstance(key, rsa.RSAPublicKey):
            is_strong = RSA_BITS <= key.key_size <= 4 * RSA_BITS
        else:
            is_strong = isinstance(key, ec.EllipticCurvePublicKey) and key.curve.key_size >= 256
        if not is_strong:
            raise CertificateError("the key must be RSA of 2048 bits or more, or ECDSA P-256")
        names = found.extensions
        return Request(tuple(uris_of(names)), tuple(hosts_of(names)), public_bytes_of(found))
    except unreadable() as error:
        raise CertificateError(f"not a certificate request: {error}") from error


def make_root(kind: KeyKind, name: str, not_before_s: float, not_after_s: float) -> Signer:
    """A root of one's own: its new key, and its certificate, which signs leaves only."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.x509.oid import NameOID

    pem = make_key(kind)
    key = load_key(pem)
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, name)])
    public = key.public_key()
    builder = _builder(not_before_s, not_after_s).subject_name(subject).issuer_name(subject)
    made = (
        builder.public_key(public)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(is_authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Signer(pem, made.public_bytes(serialization.Encoding.PEM))


def issue(leaf: Leaf, signer: Signer) -> bytes:
    """The certificate of a leaf, in PEM, for use as a client and as a server. Raises
    CertificateError for a public key or a signer that cannot be read, or has ended."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.x509.oid import ExtendedKeyUsageOID

    above, key = load(signer.certificate), load_key(signer.key)
    try:
        public = serialization.load_der_public_key(leaf.public_key)
    except unreadable() as error:
        raise CertificateError(f"not a public key: {error}") from error
    if not isinstance(public, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise CertificateError("the key must be RSA or ECDSA")
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    (end_s,) = (each.not_after_s for each in read(signer.certificate)[:1])
    if end_s <= leaf.not_before_s:
        raise CertificateError(f"the signer's own certificate ends at {date(end_s)}")
    builder = _builder(leaf.not_before_s, min(leaf.not_after_s, end_s))
    made = (
        builder.subject_name(x509.Name([]))
        .issuer_name(above.subject)
        .public_key(public)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(is_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(both), critical=False)
        .add_extension(_above(above, key), critical=False)
        .add_extension(_names(leaf.uris, leaf.hosts), critical=True)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


def _builder(not_before_s: float, not_after_s: float) -> x509.CertificateBuilder:
    from cryptography import x509

    begins, ends = (datetime.fromtimestamp(int(each), UTC) for each in (not_before_s, not_after_s))
    builder = x509.CertificateBuilder().serial_number(x509.random_serial_number())
    return builder.not_valid_before(begins).not_valid_after(ends)


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_encipherment=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _above(
    signer: x509.Certificate, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
) -> x509.AuthorityKeyIdentifier:
    """By which a verifier finds the signer among others of its name."""
    from cryptography import x509

    try:
        found = signer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(found)


def _names(uris: Sequence[str], hosts: Sequence[str]) -> x509.SubjectAlternativeName:
    from cryptography import x509

    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in uris]
    for host in hosts:
        try:
            names.append(x509.IPAddress(ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    return x509.SubjectAlternativeName(names)
