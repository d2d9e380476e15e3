"""What certificates say; the oracle is openssl."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.workload import certificate, signing
from interceptor.workload.certificate import CertificateError
from interceptor.workload.signing import Leaf, Signer

NOW = 1_800_000_000.0
WHO = "spiffe://cluster.local/ns/shop/sa/web"
ROOT = signing.make_root("ecdsa-p256", "a site", NOW, NOW + 86400)
OTHER = signing.make_root("ecdsa-p256", "a site", NOW, NOW + 86400)  # of the same name
KEY = signing.make_key("ecdsa-p256")


def openssl(*words: str, stdin: bytes = b"") -> str:
    done = subprocess.run(["openssl", *words], input=stdin, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def leaf(signer: Signer = ROOT, key: bytes = KEY, uri: str = WHO, ends: float = 3600) -> bytes:
    request = signing.read_request(signing.build_csr(key, uri))
    wanted = Leaf(request.public_key, request.uris, NOW, NOW + ends)
    return signing.issue(wanted, signer)


def test_openssl_reads_what_a_certificate_says_as_we_do() -> None:
    (found,) = certificate.read(leaf())
    assert (found.spiffe, found.uris, found.is_authority) == (WHO, (WHO,), False)
    assert (found.not_before_s, found.not_after_s) == (NOW, NOW + 3600)
    text = openssl("x509", "-noout", "-fingerprint", "-sha256", "-enddate", stdin=found.pem)
    assert found.fingerprint in text.lower().replace(":", "")
    assert certificate.date(found.not_after_s) == "2027-01-15 09:00:00 UTC"
    assert "Jan 15 09:00:00 2027 GMT" in text


@pytest.mark.parametrize("kind", signing.KINDS)
def test_a_key_fits_its_own_certificate_and_no_other(kind: signing.KeyKind) -> None:
    key = signing.make_key(kind)
    (found,) = certificate.read(leaf(key=key))
    assert certificate.fits(key, found)
    assert not certificate.fits(KEY, found)


def test_a_chain_leads_to_the_root_that_signed_it_and_not_to_one_of_the_same_name(
    tmp_path: Path,
) -> None:
    made = leaf()
    chain, (root,), (other,) = map(certificate.read, (made, ROOT.certificate, OTHER.certificate))
    assert certificate.find_root(chain, (other, root)) == root
    assert certificate.find_root(chain, (other,)) is None
    assert certificate.find_root(chain, chain) is None, "a leaf is no authority"
    for name, pem in (("leaf", made), ("root", ROOT.certificate)):
        (tmp_path / name).write_bytes(pem)
    trust = ["-CAfile", str(tmp_path / "root"), "-attime", str(int(NOW) + 60)]
    assert openssl("verify", *trust, "-x509_strict", str(tmp_path / "leaf")).endswith("OK\n")


def test_a_chain_is_followed_over_what_is_between(tmp_path: Path) -> None:
    """Made by openssl: our own authority signs leaves only."""
    for name in ("root", "middle"):
        openssl(*f"ecparam -name prime256v1 -genkey -noout -out {tmp_path}/{name}.key".split())
    (tmp_path / "ext").write_text("basicConstraints=critical,CA:true\nkeyUsage=keyCertSign\n")
    root = f"req -x509 -new -key {tmp_path}/root.key -subj /O=r -days 900 -out {tmp_path}/root.pem"
    openssl(*root.split())
    request = f"req -new -key {tmp_path}/middle.key -subj /O=m -out {tmp_path}/middle.csr"
    openssl(*request.split())
    sign = f"x509 -req -in {tmp_path}/middle.csr -CA {tmp_path}/root.pem -CAkey {tmp_path}/root.key"
    openssl(*f"{sign} -extfile {tmp_path}/ext -days 900 -out {tmp_path}/middle.pem".split())
    middle = (tmp_path / "middle.pem").read_bytes()
    below = leaf(Signer((tmp_path / "middle.key").read_bytes(), middle))
    roots = certificate.read((tmp_path / "root.pem").read_bytes())
    chain = certificate.read(below + middle)
    assert certificate.find_root(chain, roots) == roots[0]
    assert certificate.find_root(chain[:1], roots) is None


def test_a_certificate_with_two_spiffe_names_has_none() -> None:
    request = signing.read_request(signing.build_csr(KEY, WHO))
    made = signing.issue(Leaf(request.public_key, (WHO, WHO + "2"), NOW, NOW + 9), ROOT)
    assert certificate.read(made)[0].spiffe == ""


@pytest.mark.parametrize(
    ("pem", "words"),
    [
        (b"", "no certificate"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be read"),
        (b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", "cannot be read"),
        (ROOT.certificate * 65, "64 are the limit"),
        (b"x" * (certificate.PEM_LIMIT_BYTES + 1), "are the limit"),
    ],
)
def test_what_is_no_certificate_is_refused_with_a_reason(pem: bytes, words: str) -> None:
    with pytest.raises(CertificateError, match=words):
        certificate.read(pem)


def test_a_certificate_of_a_version_that_there_is_not_is_refused_with_a_reason() -> None:
    der = base64.b64decode(b"".join(ROOT.certificate.splitlines()[1:-1]))
    odd = der.replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020115"))
    body = base64.encodebytes(odd)
    pem = b"-----BEGIN CERTIFICATE-----\n" + body + b"-----END CERTIFICATE-----\n"
    with pytest.raises(CertificateError, match="cannot be read"):
        certificate.read(pem)


def test_a_refused_key_is_never_told() -> None:
    with pytest.raises(CertificateError) as raised:
        certificate.load_key(KEY[:90] + b"\n-----END PRIVATE KEY-----\n")
    assert KEY[40:60].decode() not in str(raised.value)
    assert raised.value.__cause__ is None


@given(st.integers(0, 700), st.binary(max_size=12))
def test_a_damaged_certificate_is_read_or_refused(at: int, junk: bytes) -> None:
    pem = ROOT.certificate
    try:
        certificate.find_root(certificate.read(pem[:at] + junk + pem[at + len(junk) :]), ())
    except CertificateError:
        pass
