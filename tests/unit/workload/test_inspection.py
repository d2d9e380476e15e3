"""What is wrong with a bundle is told before anything of it is used."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor import config
from interceptor.config import Config
from interceptor.errors import Problem
from interceptor.workload import inspection, signing
from interceptor.workload.signing import Leaf
from tests.unit.workload import packed
from tests.unit.workload.packed import DAY_S, NOW_S


def member(**identity: object) -> Config:
    settings = {
        "mesh.source": "istiod",
        "node.namespace": "vm",
        "node.service_account": "shop",
        "node.name": "ratings",
        **{f"identity.{key}": value for key, value in identity.items()},
    }
    return config.parse("", flags=settings)


def told(problems: Iterable[Problem]) -> str:
    return "\n".join(map(str, problems))


def test_a_good_bundle_has_no_problem() -> None:
    files = packed.istio()
    assert not told(inspection.check_files(files, "b"))
    assert not told(inspection.check(files, member(), "b", NOW_S))


def test_every_problem_is_told_at_once() -> None:
    files = {
        **packed.istio(),
        "root-cert.pem": b"-----BEGIN NOTHING-----",
        "istio-token": packed.bearer()[:-5].encode(),
    }
    text = told(inspection.check(files, member(), "b", NOW_S))
    assert "b/root-cert.pem" in text
    assert "b/istio-token" in text
    assert "signature" in text


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("root-cert.pem", None, "(missing)"),
        ("root-cert.pem", b"\n", "(empty)"),
        ("root-cert.pem", b"no certificate at all", "no certificate"),
        ("root-cert.pem", packed.root()[:200], "no certificate"),
        ("root-cert.pem", packed.root() + packed.root()[:200], "cut off"),
        ("root-cert.pem", packed.root(ends_s=NOW_S - 60), "ended"),
        ("root-cert.pem", packed.root(begins_s=NOW_S + 3600), "clock says"),
        ("istio-token", None, "(missing)"),
        ("istio-token", b"", "(empty)"),
        ("istio-token", packed.bearer(NOW_S - 60).encode(), "expired"),
        ("istio-token", packed.bearer(account="other").encode(), "system:serviceaccount:vm:other"),
        ("istio-token", packed.bearer(namespace="prod").encode(), "whom cluster.env names"),
    ],
)
def test_one_thing_that_is_wrong_is_named(name: str, data: bytes | None, said: str) -> None:
    files = packed.istio()
    if data is None:
        del files[name]
    else:
        files[name] = data
    text = told(inspection.check(files, member(), "b", NOW_S))
    assert f"b/{name}" in text
    assert said in text


def test_a_certificate_that_may_not_sign_is_no_root() -> None:
    signer = signing.make_root("ecdsa-p256", "tests", NOW_S - DAY_S, NOW_S + DAY_S)
    request = signing.read_request(
        signing.build_csr(signing.make_key("ecdsa-p256"), "spiffe://a/b")
    )
    leaf = Leaf(request.public_key, ("spiffe://a/b",), NOW_S - 60, NOW_S + 60)
    files = {**packed.istio(), "root-cert.pem": signing.issue(leaf, signer)}
    assert "authority" in told(inspection.check(files, member(), "b", NOW_S))


def test_who_needs_no_identity_needs_no_token() -> None:
    files = {name: data for name, data in packed.site().items() if name.endswith((".env", ".yaml"))}
    plain = config.parse("", flags={"node.namespace": "vm", "node.name": "x"})
    assert not told(inspection.check(files, plain, "b", NOW_S))
    spire = member(provider="socket")
    assert not told(inspection.check(files, spire, "b", NOW_S))


def test_what_is_no_bundle_at_all_is_told_once() -> None:
    (one,) = inspection.check_files({"notes.txt": b""}, "b")
    assert "notes.txt" in one.value
    (one,) = inspection.check_files({"cluster.env": b""}, "b")
    assert one.key == "mesh.yaml"


@given(st.binary(max_size=300))
def test_any_bytes_for_a_token_are_a_problem_and_never_shown(data: bytes) -> None:
    text = told(inspection.check_token(data, member(), "b", NOW_S))
    assert text
    secret = data.decode(errors="replace").strip()
    assert len(secret) < 24 or secret not in text


@given(st.binary(max_size=300))
def test_any_bytes_for_a_root_are_a_problem(data: bytes) -> None:
    assert told(inspection.check_root(data, "b", NOW_S))


def test_a_token_for_another_audience_is_a_note() -> None:
    assert any("ends" in line for line in inspection.notes(packed.istio(), member()))
