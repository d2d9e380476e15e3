"""What the daemon tells of itself, for each state that it can be in."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from time import monotonic
from typing import cast

from interceptor import report
from interceptor.capture import joined, plan
from interceptor.capture.backend import Choice
from interceptor.capture.guard import Guard
from interceptor.capture.journal import Journal
from interceptor.capture.plan import Facts
from interceptor.config import Config
from interceptor.debug import metrics, status
from interceptor.dns.plane import Plane
from interceptor.errors import Problem
from interceptor.host.lifeline import Lifeline
from interceptor.mesh.model import Host, Kind
from interceptor.mesh.table import EMPTY, MeshTable
from interceptor.reload import Reload
from interceptor.sidecar.managed import Managed
from interceptor.source.event import Standing

CHOICE = Choice("nftables", "nftables", why=("backend: nftables [asked-for]",))


@dataclass
class Told:
    """A daemon that has no worker and no sidecar."""

    config: Config = field(default_factory=Config)
    choice: Choice = CHOICE
    guard: Guard = field(default_factory=lambda: Guard(joined.build(CHOICE, Journal())))
    plane: Plane | None = None
    sidecar: Managed | None = None
    table: MeshTable = EMPTY
    has_table: bool = False
    is_started: bool = False
    problems: tuple[Problem, ...] = ()
    rejected: int = 0
    began_s: float = 0.0
    loaded_s: float = 0.0
    load_s: float = 0.0
    standing: Standing = field(default_factory=Standing)
    told_s: float = field(default_factory=monotonic)
    confirmed: asyncio.Event = field(default_factory=asyncio.Event)
    lifeline: Lifeline = field(default_factory=Lifeline)
    reload: Reload = field(default_factory=lambda: Reload(Config(), asyncio.Event(), bool))


def test_a_daemon_at_its_start_says_what_is_missing() -> None:
    assert report.ready(Told()) == (
        False,
        "rules are not installed; no table has been loaded",
    )


def test_rules_and_table_and_the_end_of_the_start_make_it_ready() -> None:
    told = Told(has_table=True)
    told.guard.plan = plan.build(Config(), Facts())
    assert report.ready(told) == (False, "the start is not over")
    told.is_started = True
    assert report.ready(told) == (True, "ready")


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
    assert 65 <= report.snapshot(told).table_age_s < 75
    told.standing = Standing(held=2, recalled=1, age_s=60.0)
    assert row(told)["from"] == "disk"


def test_the_figures_are_those_of_the_parts() -> None:
    host = Host("a", "n", Kind.SERVICE)
    told = Told(table=MeshTable({"a": host}), rejected=2)
    told.guard.repairs["rules"] += 3
    text = metrics.render(report.snapshot(told)).decode()
    assert "interceptor_table_hosts 1.0" in text
    assert "interceptor_table_rejected_total 2.0" in text
    assert 'interceptor_reassert_total{what="rules"} 3.0' in text
    assert report.name_table(told)["table"] == {
        "a": {"ips": [], "registry": "Kubernetes", "shortname": "a", "namespace": "n"}
    }
