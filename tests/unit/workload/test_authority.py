"""Our own authority: a certificate of the name that was proved, and of no other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from interceptor.config import parse
from interceptor.errors import InterceptorError
from interceptor.mesh.identity import SpiffeId
from interceptor.workload import authority, certificate, keystore, signing, token
from interceptor.workload.authority import Authority, Proof, Refused
from interceptor.workload.token import Grant

NOW = 1_700_000_000.0
TTL = 600
WEB = SpiffeId("example.org", "vm", "web")
KEYS = keystore.make("example.org", "ecdsa-p256", TTL, NOW)
GOOD = token.encode(Grant(WEB, NOW, NOW + 3600), KEYS.secret)
KEY = signing.make_key("ecdsa-p256")
CSR = signing.build_csr(KEY, "spiffe://example.org/ns/kube-system/sa/admin")


@pytest.fixture
def made(tmp_path: Path) -> Authority:
    keystore.save(tmp_path, KEYS, NOW)
    return Authority(tmp_path, TTL, lambda: NOW)


def refusal(of: Authority, proof: Proof, csr: bytes = CSR) -> str:
    with pytest.raises(Refused) as caught:
        of.serve(csr, proof, 60)
    return caught.value.code


def test_the_name_is_the_token_s_and_not_the_request_s(made: Authority) -> None:
    leaf, roots = made.serve(CSR, Proof(GOOD), 60)
    (found,) = certificate.read(leaf)
    assert found.uris == ("spiffe://example.org/ns/vm/sa/web",)
    assert not found.hosts
    assert not found.is_authority
    assert certificate.fits(KEY, found)
    assert certificate.find_root([found], certificate.read(roots)) is not None


def test_a_certificate_lives_as_long_as_asked_for_and_allowed(made: Authority) -> None:
    for asked, given in ((60, 60), (10**9, TTL), (0, TTL), (-5, TTL)):
        (found,) = certificate.read(made.serve(CSR, Proof(GOOD), asked)[0])
        assert found.not_after_s == NOW + given
        assert NOW - 60 <= found.not_before_s <= NOW


def test_who_has_a_certificate_gets_the_next_one_without_a_token(made: Authority) -> None:
    leaf, _ = made.serve(CSR, Proof(GOOD), 60)
    again, _ = made.serve(CSR, Proof(certificate=leaf), 60)
    assert certificate.read(again)[0].uris == (WEB.uri,)
    expired = token.encode(Grant(WEB, NOW - 7200, NOW - 3600), KEYS.secret)
    assert made.serve(CSR, Proof(expired, leaf), 60)


@pytest.mark.parametrize("shown", ["", "nonsense", GOOD[:-2], GOOD + "x", "a.b.c"])
def test_who_proves_nothing_gets_nothing(made: Authority, shown: str) -> None:
    assert refusal(made, Proof(shown)) == "UNAUTHENTICATED"
    assert (made.issued, made.refused) == (0, 1)


def test_a_certificate_that_names_no_member_proves_nothing(made: Authority) -> None:
    _, server = made.serve_myself(["ca.example.org"], 60)
    assert refusal(made, Proof(certificate=server)) == "UNAUTHENTICATED"
    other = SpiffeId("example.com", "vm", "web")
    leaf = made.sign(CSR, other, 60)[0]
    assert refusal(made, Proof(certificate=leaf)) == "UNAUTHENTICATED"


@pytest.mark.parametrize("csr", [b"", b"nonsense", CSR[:-60], KEY, b"x" * (2 << 20)])
def test_a_request_that_is_none_is_refused(made: Authority, csr: bytes) -> None:
    assert refusal(made, Proof(GOOD), csr) == "INVALID_ARGUMENT"


def test_who_asks_too_often_has_to_wait(made: Authority) -> None:
    for _ in range(authority.BURST):
        made.serve(CSR, Proof(GOOD), 60)
    codes = {refusal(made, Proof(GOOD)) for _ in range(5)}
    assert codes == {"RESOURCE_EXHAUSTED"}
    other = token.encode(Grant(SpiffeId("example.org", "vm", "b"), NOW, NOW + 60), KEYS.secret)
    assert made.serve(CSR, Proof(other), 60), "one member takes nothing from another"


def test_the_server_s_own_certificate_is_no_member_s(made: Authority) -> None:
    key, leaf = made.serve_myself(["ca.example.org", "192.0.2.1"], 60)
    (found,) = certificate.read(leaf)
    assert (found.uris, found.hosts) == ((), ("ca.example.org", "192.0.2.1"))
    assert certificate.fits(key, found)


def test_a_change_of_the_roots_is_seen_without_a_restart(made: Authority, tmp_path: Path) -> None:
    before = made.roots()
    keystore.save(tmp_path, keystore.rotate(KEYS, "ecdsa-p256", TTL, NOW), NOW)
    assert len(certificate.read(made.roots())) == 2
    assert made.roots().startswith(before)
    (tmp_path / keystore.NAME).write_bytes(b"half of a copy")
    os.utime(tmp_path / keystore.NAME, (1, 1))
    assert len(certificate.read(made.roots())) == 2, "the last good keys stay"


def test_this_vm_is_signed_for_by_its_own_name(tmp_path: Path) -> None:
    now = certificate.now_s()
    keystore.save(tmp_path, keystore.make("example.org", "ecdsa-p256", TTL, now), now)
    text = f"""
    node: {{namespace: vm, service_account: web}}
    authority: {{dir: {tmp_path}}}
    identity: {{trust_domain: example.org}}
    """
    leaf, roots = authority.sign_for_self(parse(text, "f"), CSR, 60)
    (found,) = certificate.read(leaf)
    assert found.uris == (WEB.uri,)
    assert certificate.find_root([found], certificate.read(roots)) is not None
    other = parse(text.replace("trust_domain: example.org", "trust_domain: x.org"), "f")
    with pytest.raises(InterceptorError, match=r"x\.org"):
        authority.sign_for_self(other, CSR, 60)
