"""`mesh`: list, show, check, export."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

Run = Callable[..., tuple[int, str, str]]
MESH = """\
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: bookinfo}
spec:
  clusterIP: nowhere
  ports: [{name: http, port: 99999}]
"""


def test_every_problem_of_a_wrong_document_is_printed(run: Run, configuration: Path) -> None:
    bad = configuration.parent / "mesh" / "b.yaml"
    bad.write_text(MESH)
    code, _, err = run("mesh", "check", "--config", str(configuration))
    assert code == 2
    assert f"{bad}:5 (Service bookinfo/reviews)" in err
    assert "99999" in err
    code, out, _ = run("mesh", "check", "--json", "--config", str(configuration))
    assert code == 2
    assert len(json.loads(out)["problems"]) == 2


def test_mesh_list_and_show_and_export(run: Run, configuration: Path) -> None:
    tail = ("--config", str(configuration))
    _, out, _ = run("mesh", "list", "--json", *tail)
    assert [row["host"] for row in json.loads(out)] == ["reviews.bookinfo.svc.cluster.local"]
    _, out, _ = run("mesh", "show", "reviews.bookinfo", *tail)
    assert "10.0.0.7" in out
    _, out, _ = run("mesh", "export", "--format", "hosts", *tail)
    assert out == "10.0.0.7 reviews.bookinfo.svc.cluster.local\n"
    code, _, err = run("mesh", "show", "nobody", *tail)
    assert (code, "nobody" in err) == (1, True)


def test_a_name_table_that_was_exported_reads_back(run: Run, configuration: Path) -> None:
    _, out, _ = run("mesh", "export", "--config", str(configuration))
    table = configuration.parent / "ndsz.json"
    table.write_text(out)
    argv = ("resolve", "reviews.bookinfo.svc", "--nametable", str(table), "--json")
    _, out, _ = run(*argv, "--config", str(configuration))
    assert json.loads(out)["answers"][0]["data"] == "10.0.0.7"
