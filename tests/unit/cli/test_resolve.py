"""`resolve` and `explain`: the JSON that other programs are written against."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]


def test_resolve_prints_the_contracts_json(run: Run, configuration: Path) -> None:
    code, out, _ = run("resolve", "Reviews.bookinfo", "--json", "--config", str(configuration))
    tree = json.loads(out)
    assert code == 0
    assert set(tree) == {"name", "type", "verdict", "rcode", "answers", "host", "why"}
    assert tree["verdict"] == "answer"
    assert tree["answers"] == [
        {"name": "reviews.bookinfo", "type": "A", "ttl_s": 30, "data": "10.0.0.7"}
    ]
    assert tree["host"] == "reviews.bookinfo.svc.cluster.local"


@pytest.mark.parametrize(
    ("name", "kind", "verdict"),
    [
        ("reviews.bookinfo.svc.cluster.local", "AAAA", "nodata"),
        ("reviews.bookinfo.svc.cluster.local.corp.example", "A", "answer"),
        ("example.com", "A", "pass"),
    ],
)
def test_resolve_tells_each_verdict(
    run: Run, configuration: Path, name: str, kind: str, verdict: str
) -> None:
    argv = ("resolve", name, "--type", kind, "--json", "--config", str(configuration))
    code, out, _ = run(*argv)
    assert (code, json.loads(out)["verdict"]) == (0, verdict)


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
