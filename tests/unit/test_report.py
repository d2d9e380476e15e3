"""What the daemon tells of itself, for each state that it can be in."""

from __future__ import annotations

from time import monotonic
from typing import cast

from interceptor import report
from interceptor.debug import status
from interceptor.errors import Problem
from interceptor.mesh.model import Host, Kind
from interceptor.mesh.table import MeshTable
from interceptor.source.event import Standing
from tests.unit.told import Told


def test_a_refused_document_stands_in_the_status_with_all_its_words() -> None:
    problem = Problem("a.yaml", "spec.ports[0].number", "99999", "1..65535", 6, "Service a/b")
    told = Told(problems=(problem,), rejected=1)
    tree = report.status(told)
    text = status.render(tree)
    for word in ("a.yaml", "spec.ports[0].number", "99999", "1..65535", "6", "Service a/b"):
        assert word in text


def test_a_table_s_age_counts_from_when_its_source_was_right() -> None:
    told = Told(has_table=True, told_s=monotonic() - 5)

    def row(told: Told) -> dict[str, object]:
        return cast("dict[str, object]", report.status(told)["table"])

    assert (row(told)["from"], row(told)["good_age_s"]) == ("source", 0.0)
    told.standing = Standing(held=2, recalled=0, age_s=60.0)
    assert (row(told)["from"], row(told)["held"]) == ("source", 2)
    assert 65 <= cast("float", row(told)["good_age_s"]) < 75
    told.standing = Standing(held=2, recalled=1, age_s=60.0)
    assert row(told)["from"] == "disk"


def test_the_name_table_is_istiods() -> None:
    told = Told(table=MeshTable({"a": Host("a", "n", Kind.SERVICE)}))
    assert report.name_table(told)["table"] == {
        "a": {"ips": [], "registry": "Kubernetes", "shortname": "a", "namespace": "n"}
    }
