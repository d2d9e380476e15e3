"""IstioCertificateService: a certificate for who can say who it is."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from tests.controlplane import schema
from tests.controlplane.authority import DAY_S, EXPIRED, FUTURE, PEM, Authority, Refused, Span
from tests.controlplane.fault import Faults

METHOD = "/istio.v1.auth.IstioCertificateService/CreateCertificate"


def create(
    data: bytes, who: tuple[str, str], authority: Authority, faults: Faults, ttl_s: float
) -> bytes:
    """The answer to a request: leaf and root, for who asks and not for whom the CSR names.

    ``ttl_s`` is the longest life. Raises Refused for what is no sound CSR.
    """
    time.sleep(faults.ca_delay_s)
    request = schema.CertificateRequest.FromString(data)
    try:
        csr = x509.load_pem_x509_csr(request.csr.encode())
    except ValueError as error:
        raise Refused(f"the CSR cannot be read: {error}") from error
    if not csr.is_signature_valid:
        raise Refused("the CSR is not signed by its key")
    life_s = min(request.validity_duration or DAY_S, ttl_s)
    key: object = csr.public_key()
    span = {"expired": EXPIRED, "future": FUTURE}.get(faults.ca, Span(end_s=life_s))
    if faults.ca == "other-key":
        key = ec.generate_private_key(ec.SECP256R1()).public_key()
    names = (authority.spiffe(*who),)
    if faults.ca == "other-root":
        with TemporaryDirectory() as folder:
            leaf = Authority(Path(folder)).sign(key, names, span)
    else:
        leaf = authority.sign(key, names, span)
    chain = [leaf.public_bytes(PEM).decode(), authority.root_pem.decode()]
    if faults.ca == "rubbish":
        rubbish = secrets.token_hex(200)
        chain = [f"-----BEGIN CERTIFICATE-----\n{rubbish}\n-----END CERTIFICATE-----\n"] * 2
    if faults.ca == "empty":
        chain = []
    answer: bytes = schema.CertificateResponse(cert_chain=chain).SerializeToString()
    return answer
