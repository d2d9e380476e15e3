"""`explain`: the JSON that other programs are written against, and the chain for people."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]


def test_explain_prints_the_contracts_json(run: Run, configuration: Path) -> None:
    argv = ("explain", "tcp", "reviews.bookinfo:9080", "--uid", "1000", "--gid", "1000")
    code, out, _ = run(*argv, "--json", "--config", str(configuration))
    tree = json.loads(out)
    assert code == 0
    assert {"verdict", "to", "rule", "why", "host", "endpoints"} <= set(tree)
    assert (tree["verdict"], tree["to"], tree["rule"]) == ("outbound", "127.0.0.1:15001", 7)


def test_explain_of_dns_is_the_dns_plane(run: Run, configuration: Path) -> None:
    argv = ("explain", "udp", "192.0.2.53:53", "--uid", "1000", "--gid", "1000", "--json")
    _, out, _ = run(*argv, "--config", str(configuration))
    assert json.loads(out)["verdict"] == "dns"


def test_a_name_of_nobody_passes(run: Run, configuration: Path) -> None:
    argv = ("explain", "tcp", "example.com:443", "--json", "--config", str(configuration))
    code, out, _ = run(*argv)
    assert (code, json.loads(out)["verdict"]) == (0, "pass")


def test_links_and_findings_stand_beside_the_contracts_keys(run: Run, configuration: Path) -> None:
    argv = ("explain", "tcp", "reviewz.bookinfo:9080", "--uid", "1000", "--gid", "1000", "--json")
    code, out, _ = run(*argv, "--config", str(configuration))
    tree = json.loads(out)
    assert code == 0
    assert tree["findings"][0]["cause"] == "name-typo"
    link = next(each for each in tree["links"] if each["step"] == "name")
    assert set(link) == {"step", "ok", "said", "detail", "cause", "next"}
    assert (link["ok"], link["cause"]) == (False, "name-typo")


@pytest.mark.parametrize(
    ("target", "mark", "last"),
    [
        ("reviews.bookinfo:9080", " ✓ name", ""),
        ("reviewz.bookinfo:9080", " ✗ name", "  next: interceptor resolve reviews.bookinfo"),
    ],
)
def test_the_chain_reads_link_by_link(
    run: Run, configuration: Path, target: str, mark: str, last: str
) -> None:
    argv = ("explain", "tcp", target, "--uid", "1000", "--gid", "1000")
    code, out, _ = run(*argv, "--config", str(configuration))
    assert code == 0
    assert mark in out
    assert out.splitlines()[-1].startswith(last)
