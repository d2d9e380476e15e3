from __future__ import annotations

import base64
import json
import re
from dataclasses import astuple
from functools import partial
from pathlib import Path

import pytest

from interceptor.config import Config, Istiod, Mesh, Node
from interceptor.errors import InterceptorError
from interceptor.host import admission
from interceptor.host.admission import Admission, Pair

ROOT = "-----BEGIN CERTIFICATE-----\n"
NOW_S = 1_700_000_000.0


def config(tmp_path: Path, **more: object) -> Config:
    istiod = Istiod(root_cert=tmp_path / "root.pem", token=tmp_path / "token", **more)
    return Config(mesh=Mesh(istiod=istiod), node=Node(cluster="east"))


def token(**claims: object) -> str:
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"e30.{body}.c2ln"


def test_root_and_certificate_are_read_afresh(tmp_path: Path) -> None:
    (tmp_path / "root.pem").write_text(ROOT + "one")
    pairs = [None, Pair(b"chain", b"key")]
    found = Admission(config(tmp_path), lambda: pairs[-1])
    tls = found.tls("istiod.example", 15012)
    assert tls is not None
    assert (tls.root, tls.certificate, tls.key, tls.server_name) == (
        (ROOT + "one").encode(),
        b"chain",
        b"key",
        "istiod.example",
    )
    (tmp_path / "root.pem").write_text(ROOT + "two")
    pairs.pop()
    again = found.tls("localhost", 15012)
    assert again is not None
    assert (again.root, again.certificate) == ((ROOT + "two").encode(), b"")
    assert again.server_name == "istiod.istio-system.svc"


def test_roots_that_came_with_our_certificate_are_believed_beside_the_file_s(
    tmp_path: Path,
) -> None:
    (tmp_path / "root.pem").write_text(ROOT)
    for pair in (Pair(b"chain", b"key", b"another"), Pair(b"", b"", b"another")):
        tls = Admission(config(tmp_path), partial(Pair, *astuple(pair))).tls("istiod", 15012)
        assert tls is not None
        assert tls.root == ROOT.encode().rstrip() + b"\nanother"
        assert (tls.certificate, tls.key) == (pair.chain, pair.key)


@pytest.mark.parametrize(
    ("tls", "port", "expected"),
    [
        ("auto", 15012, True),
        ("auto", 15010, False),
        ("on", 15010, True),
        ("off", 15012, False),
    ],
)
def test_tls_is_spoken_where_it_is_meant(
    tmp_path: Path, tls: str, port: int, expected: bool
) -> None:
    (tmp_path / "root.pem").write_text(ROOT)
    found = Admission(config(tmp_path, tls=tls))
    assert (found.tls("a", port) is not None) is expected


def test_a_root_that_is_missing_is_named_with_what_belongs_there(tmp_path: Path) -> None:
    with pytest.raises(InterceptorError, match=r"root_cert: .*root\.pem.*No such file.*root-cert"):
        Admission(config(tmp_path)).tls("a", 15012)


def test_a_root_without_a_certificate_is_not_the_systems_authorities(tmp_path: Path) -> None:
    (tmp_path / "root.pem").write_text("")
    with pytest.raises(InterceptorError, match="no certificate in it"):
        Admission(config(tmp_path)).tls("a", 15012)


def test_the_token_is_read_at_each_call_and_never_sent_in_plain_text(tmp_path: Path) -> None:
    found = Admission(config(tmp_path, headers={"x-tenant": "blue"}))
    bare = {"clusterid": "east", "x-tenant": "blue"}
    assert found.metadata(is_secret=True) == bare
    for text in ("first", "second\n"):
        (tmp_path / "token").write_text(text)
        assert found.metadata(is_secret=True) == {
            **bare,
            "authorization": f"Bearer {text.strip()}",
        }
    assert found.metadata(is_secret=False) == bare


@pytest.mark.parametrize("data", [b"\xff\xfe", b"two\nlines", b"\x00"])
def test_a_file_that_is_no_token_is_not_sent(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "token").write_bytes(data)
    assert "authorization" not in Admission(config(tmp_path)).metadata(is_secret=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (token(exp=NOW_S + 60, iat=NOW_S - 5), ""),
        (token(exp=NOW_S - 60), "expired at 2023-11-14 22:12:20 UTC"),
        (token(exp=NOW_S + 9000, nbf=NOW_S + 3600), "begins at .*clock right"),
        (token(exp=NOW_S + 9000, iat=NOW_S + 3600), "begins at .*clock right"),
        (token(exp=1e300), ""),
        (token(exp="soon"), ""),
        ("opaque", ""),
        ("", "empty"),
    ],
)
def test_what_is_wrong_with_a_token_is_told_as_far_as_it_says(
    tmp_path: Path, text: str, expected: str
) -> None:
    (tmp_path / "token").write_text(text)
    found = Admission(config(tmp_path)).explain(NOW_S)
    assert re.search(expected, found) if expected else found == ""
    assert "c2ln" not in found


def test_a_missing_token_is_no_matter_where_there_is_a_certificate(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in Admission(config(tmp_path)).explain(NOW_S)
    assert Admission(config(tmp_path), lambda: Pair(b"c", b"k")).explain(NOW_S) == ""


@pytest.mark.parametrize(
    ("address", "expected"),
    [("a.b:1", ("a.b", 1)), ("[2001:db8::1]:15012", ("2001:db8::1", 15012))],
)
def test_an_address_is_host_and_port(address: str, expected: tuple[str, int]) -> None:
    assert admission.split(address) == expected
