"""The control plane's certificate authority, its own server certificates, and bearer tokens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY_S = 86400
BACKDATED_S = 120  # for clocks that differ a little
PEM = serialization.Encoding.PEM


class Refused(Exception):
    """Nobody that we know, and why."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A private key and its certificate, both PEM."""

    key: bytes
    certificate: bytes


@dataclass(frozen=True, slots=True)
class Span:
    """When a certificate is valid, in seconds from now."""

    begin_s: float = -BACKDATED_S
    end_s: float = DAY_S


EXPIRED = Span(-2 * DAY_S, -3600)
FUTURE = Span(3600, DAY_S)


class Authority:
    """``folder`` keeps key, certificate and the secret of the tokens, so that a control plane that
    is started again is the same one."""

    def __init__(self, folder: Path, trust_domain: str = "cluster.local") -> None:
        self.trust_domain = trust_domain
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._key = _key_file(folder / "ca-key.pem")
        self.certificate = self._root(folder / "ca-cert.pem")
        secret = folder / "token-secret"
        if not secret.exists():
            secret.write_bytes(secrets.token_bytes(32))
        self._secret = secret.read_bytes()

    @property
    def root_pem(self) -> bytes:
        return self.certificate.public_bytes(PEM)

    def issue(self, names: tuple[str, ...], span: Span = Span()) -> Pair:
        """A key with a certificate for DNS names, addresses and URIs."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = self.sign(key.public_key(), names, span)
        return Pair(_pem(key), made.public_bytes(PEM))

    def sign(self, key: object, names: tuple[str, ...], span: Span) -> x509.Certificate:
        now = datetime.now(UTC).replace(tzinfo=None)
        common = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:60])])
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        return (
            x509.CertificateBuilder()
            .subject_name(common)
            .issuer_name(self.certificate.subject)
            .public_key(key)  # type: ignore[arg-type]
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(seconds=span.begin_s))
            .not_valid_after(now + timedelta(seconds=span.end_s))
            .add_extension(x509.SubjectAlternativeName([_name(text) for text in names]), False)
            .add_extension(x509.ExtendedKeyUsage(usages), False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
            .sign(self._key, hashes.SHA256())
        )

    def _root(self, path: Path) -> x509.Certificate:
        if path.exists():
            return x509.load_pem_x509_certificate(path.read_bytes())
        now = datetime.now(UTC).replace(tzinfo=None)
        tag = secrets.token_hex(3)  # two roots are never taken for one
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"test root {tag}")])
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=3))
            .not_valid_after(now + timedelta(days=3650))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
            .sign(self._key, hashes.SHA256())
        )
        path.write_bytes(made.public_bytes(PEM))
        return made

    # --- tokens: like a projected service account's, but signed by a shared secret

    def token(
        self, namespace: str = "default", account: str = "default", ttl_s: float = 3600
    ) -> str:
        now = int(time.time())
        claims = {
            "iss": "kubernetes/serviceaccount",
            "aud": ["istio-ca"],
            "sub": f"system:serviceaccount:{namespace}:{account}",
            "iat": min(now, now + int(ttl_s)) - 1,
            "exp": now + int(ttl_s),
        }
        head = _b64(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
        body = f"{head}.{_b64(json.dumps(claims).encode())}"
        return f"{body}.{self._signature(body)}"

    def check(self, token: str) -> tuple[str, str]:
        """Namespace and account of a token's bearer. Raises Refused."""
        body, _, signature = token.rpartition(".")
        if not body or not hmac.compare_digest(signature, self._signature(body)):
            raise Refused("the token is not signed by us")
        claims = json.loads(_unb64(body.partition(".")[2]))
        if claims["exp"] <= time.time():
            raise Refused("the token has expired")
        if "istio-ca" not in claims["aud"]:
            raise Refused("the token is for another audience")
        _, _, namespace, account = claims["sub"].split(":")
        return namespace, account

    def _signature(self, body: str) -> str:
        return _b64(hmac.new(self._secret, body.encode(), hashlib.sha256).digest())

    def spiffe(self, namespace: str, account: str) -> str:
        return f"spiffe://{self.trust_domain}/ns/{namespace}/sa/{account}"


def identity(certificate: bytes) -> tuple[str, str] | None:
    """Namespace and account of a client's certificate (DER), where it names any."""
    try:
        names = x509.load_der_x509_certificate(certificate).extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
    except x509.ExtensionNotFound:
        return None
    for uri in names.value.get_values_for_type(x509.UniformResourceIdentifier):
        parts = uri.split("/")
        if uri.startswith("spiffe://") and len(parts) == 7:
            return parts[4], parts[6]
    return None


def _name(text: str) -> x509.GeneralName:
    if "://" in text:
        return x509.UniformResourceIdentifier(text)
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _key_file(path: Path) -> ec.EllipticCurvePrivateKey:
    if not path.exists():
        path.write_bytes(_pem(ec.generate_private_key(ec.SECP256R1())))
        path.chmod(0o600)
    found = serialization.load_pem_private_key(path.read_bytes(), None)
    assert isinstance(found, ec.EllipticCurvePrivateKey)
    return found


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    pkcs8 = serialization.PrivateFormat.PKCS8
    return key.private_bytes(PEM, pkcs8, serialization.NoEncryption())


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
