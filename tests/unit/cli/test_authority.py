"""`authority`: init, token, show, rotate."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from interceptor.workload import bearer

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(run: Run, configuration: Path) -> Run:
    """A subcommand of `authority` on a host whose authority.dir is empty."""
    folder = configuration.parent / "authority"
    more = f"authority: {{dir: {folder}}}\nidentity: {{trust_domain: example.org}}\n"
    configuration.write_text(configuration.read_text() + more)
    return lambda *words: run("authority", *words, "--config", str(configuration))


def roots(call: Run) -> list[dict[str, str]]:
    _, out, _ = call("show", "--json")
    found: list[dict[str, str]] = json.loads(out)["roots"]
    return found


def test_an_authority_is_made_once_and_openssl_reads_its_root(call: Run, tmp_path: Path) -> None:
    code, out, _ = call("init", "--json")
    assert (code, json.loads(out)["trust_domain"]) == (0, "example.org")
    argv = [
        "openssl",
        "x509",
        "-in",
        json.loads(out)["root_cert"],
        "-noout",
        "-fingerprint",
        "-sha256",
    ]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert json.loads(out)["roots"][0]["fingerprint"].upper() == said.split("=")[1].strip().replace(
        ":", ""
    )
    code, _, err = call("init")
    assert (code, "has an authority" in err) == (1, True)
    assert len(roots(call)) == 1


def test_a_token_names_whom_it_is_for(call: Run, tmp_path: Path) -> None:
    call("init")
    code, out, _ = call("token", "-n", "vm", "-s", "web")
    assert code == 0
    assert bearer.decode(out).subject == "system:serviceaccount:vm:web"
    file = tmp_path / "token"
    code, out, _ = call("token", "-o", str(file), "--json")
    assert json.loads(out)["name"] == "spiffe://example.org/ns/default/sa/default"
    assert "token" not in json.loads(out)
    assert file.stat().st_mode & 0o777 == 0o600
    assert bearer.decode(file.read_text()).namespace == "default"


@pytest.mark.parametrize(
    "words", [("-n", "a/b"), ("-s", "A"), ("--lifetime", "0s"), ("--lifetime", "soon")]
)
def test_what_cannot_be_in_a_token_is_refused(call: Run, words: tuple[str, ...]) -> None:
    call("init")
    code, out, err = call("token", *words)
    assert (code, out) == (2, "")
    assert words[1] in err or words[0] in err


def test_roots_change_one_after_the_other_or_at_once(call: Run) -> None:
    call("init")
    (first,) = roots(call)
    code, _, _ = call("rotate")
    assert code == 0
    assert [
        (root["state"], root["fingerprint"] == first["fingerprint"]) for root in roots(call)
    ] == [
        ("signs", True),
        ("comes", False),
    ]
    _, out, _ = call("show", "--roots")
    assert out.count("BEGIN CERTIFICATE") == 2
    assert "PRIVATE" not in out
    code, _, err = call("rotate")
    assert (code, "--now" in err) == (1, True)
    call("rotate", "--now")
    (fresh,) = roots(call)
    assert fresh["fingerprint"] != first["fingerprint"]


def test_a_host_without_an_authority_is_told_what_to_do(call: Run) -> None:
    for words in (("show",), ("token",), ("rotate",)):
        code, _, err = call(*words)
        assert (code, "authority init" in err) == (1, True)


def test_nothing_that_is_shown_is_secret(call: Run) -> None:
    call("init")
    for words in (("show",), ("show", "--json"), ("show", "--roots")):
        _, out, _ = call(*words)
        assert "PRIVATE" not in out
        assert "secret" not in out
