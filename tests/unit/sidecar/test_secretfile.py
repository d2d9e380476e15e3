"""Secrets of files, read as the sidecar's user."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2

from interceptor.errors import InterceptorError
from interceptor.sidecar import secretfile
from interceptor.sidecar.secretfile import Reader

KEY = b"-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n"
CERTIFICATE = b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"
OWN = Reader(os.getuid(), os.getgid())


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("file-cert:/a/key~/a/cert", ("/a/key", "/a/cert")),
        ("file-root:/a/root", ("/a/root",)),
        ("default", ()),
        ("file-cert:/a/key", ()),
        ("file-cert:/a~/b~/c", ()),
        ("file-cert:~", ()),
        ("file-root:", ()),
        ("file-root:relative", ()),
        ("file-root:/a\0b", ()),
    ],
)
def test_names_of_files(name: str, files: tuple[str, ...]) -> None:
    assert secretfile.paths(name) == tuple(map(Path, files))


def test_a_pair_and_roots_are_read(tmp_path: Path) -> None:
    key, cert = tmp_path / "key", tmp_path / "cert"
    key.write_bytes(KEY)
    cert.write_bytes(CERTIFICATE)
    pair = secretfile.read(f"file-cert:{key}~{cert}", OWN)
    found = secret_pb2.Secret.FromString(pair.body)
    assert found.tls_certificate.private_key.inline_bytes == KEY
    roots = secret_pb2.Secret.FromString(secretfile.read(f"file-root:{cert}", OWN).body)
    assert roots.validation_context.trusted_ca.inline_bytes == CERTIFICATE


def test_what_is_not_of_that_kind_is_not_handed_over(tmp_path: Path) -> None:
    path = tmp_path / "shadow"
    path.write_text("root:secret\n")
    for name in (f"file-root:{path}", f"file-cert:{path}~{path}"):
        with pytest.raises(InterceptorError, match=r"no (private key|certificate) in PEM"):
            secretfile.read(name, OWN)
    path.write_bytes(CERTIFICATE + b"x" * secretfile.LIMIT_BYTES)
    with pytest.raises(InterceptorError, match="more than"):
        secretfile.read(f"file-root:{path}", OWN)
    with pytest.raises(InterceptorError, match="No such file"):
        secretfile.read(f"file-root:{tmp_path}/none", OWN)


@pytest.mark.root
def test_what_the_sidecar_may_not_read_is_not_read_for_it() -> None:
    path = Path(f"/var/tmp/interceptor-secret-{os.getpid()}")
    try:
        path.write_bytes(CERTIFICATE)
        path.chmod(0o600)
        with pytest.raises(InterceptorError, match="Permission denied"):
            secretfile.read(f"file-root:{path}", Reader(1337, 1337))
        os.chown(path, 0, 1337)
        path.chmod(0o640)
        assert secretfile.read(f"file-root:{path}", Reader(1337, 1337))
        os.chown(path, 0, 0)  # root's group is none of the sidecar's
        with pytest.raises(InterceptorError, match="Permission denied"):
            secretfile.read(f"file-root:{path}", Reader(1337, 1337))
    finally:
        path.unlink()
