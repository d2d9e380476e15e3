"""`resolve`: the JSON that other programs are written against."""

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
