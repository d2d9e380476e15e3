"""Keys, requests, our own authority's certificates; the oracle is openssl."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.workload import certificate, signing
from interceptor.workload.certificate import CertificateError
from interceptor.workload.signing import Leaf

NOW = 1_800_000_000.0
WHO = "spiffe://cluster.local/ns/shop/sa/web"
KEY = signing.make_key("ecdsa-p256")


def openssl(*words: str, stdin: bytes) -> str:
    done = subprocess.run(["openssl", *words], input=stdin, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.mark.parametrize(
    ("kind", "words"), [("rsa-2048", "2048 bit"), ("ecdsa-p256", "NIST CURVE: P-256")]
)
def test_a_key_is_pkcs8_and_of_its_kind(kind: signing.KeyKind, words: str) -> None:
    key = signing.make_key(kind)
    assert key.startswith(b"-----BEGIN PRIVATE KEY-----")
    assert words in openssl("pkey", "-noout", "-text", stdin=key)


def test_a_request_names_the_uri_alone_and_critically() -> None:
    csr = signing.build_csr(KEY, WHO)
    text = openssl("req", "-noout", "-text", "-verify", stdin=csr)
    (after,) = text.split("Subject Alternative Name: critical\n")[1:]
    assert after.splitlines()[0].strip() == f"URI:{WHO}"
    assert "Subject: \n" in text
    assert signing.read_request(csr).uris == (WHO,)


def test_a_leaf_is_for_both_sides_and_no_authority() -> None:
    root = signing.make_root("rsa-2048", "a site", NOW, NOW + 1000)
    request = signing.read_request(signing.build_csr(KEY, WHO))
    wanted = Leaf(request.public_key, (WHO,), NOW, NOW + 5000, ("ca.example", "192.0.2.1"))
    made = signing.issue(wanted, root)
    text = openssl("x509", "-noout", "-text", stdin=made)
    for words in (
        "CA:FALSE",
        "TLS Web Server Authentication, TLS Web Client Authentication",
        f"URI:{WHO}, DNS:ca.example, IP Address:192.0.2.1",
        "Digital Signature, Key Encipherment",
    ):
        assert words in text
    assert certificate.read(made)[0].not_after_s == NOW + 1000, "no longer than its signer"


def test_a_signer_that_has_ended_signs_nothing() -> None:
    root = signing.make_root("ecdsa-p256", "a site", NOW, NOW + 1000)
    request = signing.read_request(signing.build_csr(KEY, WHO))
    with pytest.raises(CertificateError, match="signer's own certificate ends at 2027-01-15"):
        signing.issue(Leaf(request.public_key, (WHO,), NOW + 1000, NOW + 2000), root)


def test_a_root_signs_leaves_only() -> None:
    root = signing.make_root("ecdsa-p256", "a site", NOW, NOW + 1000)
    text = openssl("x509", "-noout", "-text", stdin=root.certificate)
    assert "CA:TRUE, pathlen:0" in text
    assert "Certificate Sign, CRL Sign" in text
    (found,) = certificate.read(root.certificate)
    assert (found.is_authority, found.subject) == (True, "O=a site")


def test_a_request_with_a_weak_key_or_a_foreign_signature_is_refused() -> None:
    weak = openssl("genrsa", "1024", stdin=b"").encode()
    csr = openssl("req", "-new", "-key", "/dev/stdin", "-subj", "/O=x", stdin=weak).encode()
    with pytest.raises(CertificateError, match="RSA of 2048 bits"):
        signing.read_request(csr)
    with pytest.raises(CertificateError, match="not a certificate request"):
        signing.read_request(b"nothing")


@given(st.integers(0, 420), st.binary(max_size=12))
def test_a_damaged_request_is_read_or_refused(at: int, junk: bytes) -> None:
    csr = signing.build_csr(KEY, WHO)
    try:
        found = signing.read_request(csr[:at] + junk + csr[at + len(junk) :])
    except CertificateError:
        return
    assert found.uris == (WHO,), "its own signature holds"
