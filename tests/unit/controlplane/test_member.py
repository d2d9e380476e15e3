"""Registration, health and certificates of the tests' control plane."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.rpc import status_pb2

from tests.controlplane import schema, urls
from tests.controlplane.plane import Plane
from tests.unit.controlplane.client import NODE, Client

GROUP = """
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: mysql, namespace: bookinfo}
spec: {template: {labels: {app: mysql}, ports: {tcp: 3306}}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: mysql, namespace: bookinfo}
spec:
  hosts: [mysql.mesh.internal]
  addresses: [240.240.0.9]
  resolution: STATIC
  ports: [{number: 3306, name: tcp, protocol: TCP}]
  workloadSelector: {labels: {app: mysql}}
"""
CLUSTER = "outbound|3306||mysql.mesh.internal"


OTHER = {"id": "sidecar~10.77.0.11~other.bookinfo~bookinfo.svc.cluster.local"}


def member(group: str) -> dict[str, Any]:
    return {**NODE, "metadata": {**NODE["metadata"], "AUTO_REGISTER_GROUP": group}}  # type: ignore[dict-item]


def endpoints(answer: Any) -> list[str]:
    assignment = answer.resources[0].resource
    return ["10.77.0.10"] if b"10.77.0.10" in assignment.value else []


def test_a_member_of_a_group_is_an_endpoint_until_it_is_unwell_or_gone(
    connect: Callable[..., Client], plane: Plane, folder: Path
) -> None:
    (folder / "group.yaml").write_text(GROUP)
    watcher = connect()
    watcher.ask(urls.CLUSTER, node=OTHER)
    while CLUSTER not in {item.name for item in watcher.take().resources}:
        pass
    watcher.ask(urls.ENDPOINT, CLUSTER)
    assert endpoints(watcher.take()) == []
    joiner = connect()
    joiner.ask(urls.NAMES, node=member("mysql"))
    assert endpoints(watcher.take()) == ["10.77.0.10"]
    assert plane.record.lines("registered")[0]["name"] == "mysql-10.77.0.10"
    joiner.ask(urls.HEALTH, error_detail=status_pb2.Status(code=13, message="refused"))
    assert endpoints(watcher.take()) == []
    assert plane.record.wait("health", healthy=False)["message"] == "refused"
    joiner.ask(urls.HEALTH)
    assert endpoints(watcher.take()) == ["10.77.0.10"]
    joiner.close()
    assert endpoints(watcher.take()) == [], "after the time of grace"
    plane.record.wait("unregistered", name="mysql-10.77.0.10")


def test_a_group_that_there_is_not_is_a_failed_precondition(
    connect: Callable[..., Client],
) -> None:
    client = connect()
    client.ask(urls.NAMES, node=member("nobody"))
    assert client.refused()[0] == "FAILED_PRECONDITION"


def request(key: Any, plane: Plane, token: str | None = None, *, ttl_s: int = 600) -> list[str]:
    """The chain that the CA gives for a key. Raises grpc.RpcError."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    name = x509.UniformResourceIdentifier("spiffe://cluster.local/ns/somebody/sa/else")
    builder = builder.add_extension(x509.SubjectAlternativeName([name]), critical=False)
    csr = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    body = schema.CertificateRequest(csr=csr, validity_duration=ttl_s).SerializeToString()
    token = plane.authority.token("bookinfo", "reviews") if token is None else token
    credentials = grpc.ssl_channel_credentials(plane.authority.root_pem)
    with grpc.secure_channel(plane.address, credentials) as channel:
        call = channel.unary_unary("/istio.v1.auth.IstioCertificateService/CreateCertificate")
        metadata = [("authorization", f"Bearer {token}")] if token else []
        answer = call(body, metadata=metadata, timeout=20)
    return list(schema.CertificateResponse.FromString(answer).cert_chain)


@pytest.fixture(scope="module")
def key() -> Any:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def openssl(folder: Path, chain: list[str]) -> tuple[int, str]:
    """What openssl says of a chain, and of its leaf."""
    leaf, root = folder / "leaf.pem", folder / "root.pem"
    leaf.write_text(chain[0])
    root.write_text(chain[-1])
    checked = subprocess.run(["openssl", "verify", "-CAfile", root, leaf], capture_output=True)
    text = subprocess.run(
        ["openssl", "x509", "-in", leaf, "-noout", "-text"], capture_output=True, text=True
    )
    return checked.returncode, text.stdout


def test_a_certificate_is_for_who_asks_whatever_the_request_says(
    plane: Plane, key: Any, tmp_path: Path
) -> None:
    chain = request(key, plane)
    code, text = openssl(tmp_path, chain)
    assert code == 0
    assert "URI:spiffe://cluster.local/ns/bookinfo/sa/reviews" in text
    mine = key.public_key().public_numbers()
    assert x509.load_pem_x509_certificate(chain[0].encode()).public_key().public_numbers() == mine


@pytest.mark.parametrize("ttl_s", [None, -10])
def test_who_does_not_say_who_it_is_gets_no_certificate(
    plane: Plane, key: Any, ttl_s: float | None
) -> None:
    token = "" if ttl_s is None else plane.authority.token(ttl_s=ttl_s)
    with pytest.raises(grpc.RpcError) as caught:
        request(key, plane, token)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("fault", ["expired", "future", "other-root"])
def test_certificates_are_of_no_use(plane: Plane, key: Any, tmp_path: Path, fault: str) -> None:
    plane.spoil(ca=fault)
    code, _ = openssl(tmp_path, request(key, plane))
    assert code != 0


def test_certificates_are_for_another_key_or_rubbish_or_none(plane: Plane, key: Any) -> None:
    plane.spoil(ca="other-key")
    leaf = x509.load_pem_x509_certificate(request(key, plane)[0].encode())
    assert leaf.public_key() != key.public_key()
    assert not isinstance(leaf.public_key(), rsa.RSAPublicKey)
    plane.spoil(ca="rubbish")
    with pytest.raises(ValueError):
        x509.load_pem_x509_certificate(request(key, plane)[0].encode())
    plane.spoil(ca="empty")
    assert request(key, plane) == []
    plane.spoil(ca="refuse")
    with pytest.raises(grpc.RpcError):
        request(key, plane)
