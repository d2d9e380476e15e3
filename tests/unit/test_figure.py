"""The figures are those of the parts, each under a name that the page knows."""

from __future__ import annotations

import time
from collections.abc import Mapping
from time import monotonic

from interceptor import figure
from interceptor.debug import metrics
from interceptor.dns.plane import Counters
from interceptor.errors import Problem
from interceptor.mesh.model import Host, Kind
from interceptor.mesh.table import MeshTable
from interceptor.source.event import Standing
from tests.unit.told import Told


def found(told: Told) -> Mapping[str, metrics.Values]:
    return figure.snapshot(told).figures


def test_the_figures_are_those_of_the_parts() -> None:
    told = Told(table=MeshTable({"a": Host("a", "n", Kind.SERVICE)}), rejected=2)
    told.guard.repairs["rules"] += 3
    text = metrics.render(figure.snapshot(told)).decode()
    assert "interceptor_table_hosts 1.0" in text
    assert "interceptor_table_rejected_total 2.0" in text
    assert 'interceptor_reassert_total{what="rules"} 3.0' in text
    assert 'interceptor_reassert_total{what="sets"} 0.0' in text, "a rate sees the first one"


def test_a_table_s_age_counts_from_when_its_source_was_right() -> None:
    told = Told(has_table=True, told_s=monotonic() - 5)
    assert found(told)["interceptor_table_age_seconds"] == {(): 0.0}
    told.standing = Standing(held=2, recalled=1, age_s=60.0)
    assert 65 <= found(told)["interceptor_table_age_seconds"][()] < 75
    assert found(told)["interceptor_table_held_documents"] == {(): 2.0}
    assert found(told)["interceptor_table_recalled_documents"] == {(): 1.0}


def test_times_that_are_shown_are_dates() -> None:
    told = Told(has_table=True, loaded_s=monotonic() - 100)
    loaded_s = found(told)["interceptor_table_loaded_timestamp_seconds"][()]
    assert abs(time.time() - 100 - loaded_s) < 5
    assert found(told)["interceptor_table_loaded_timestamp_seconds"][()] == loaded_s, "not anew"


def test_a_refused_configuration_has_its_date_and_makes_the_last_one_unsuccessful() -> None:
    told = Told()
    name = "interceptor_config_last_reload_refused_timestamp_seconds"
    assert found(told)[name] == {(): 0.0}, "never"
    assert found(told)["interceptor_config_last_reload_successful"] == {(): 1.0}
    told.reload.refused = ("log.level: loud",)
    told.reload.refused_s = monotonic() - 10
    assert abs(time.time() - 10 - found(told)[name][()]) < 5
    assert found(told)["interceptor_config_last_reload_successful"] == {(): 0.0}


def test_problems_of_documents_are_counted_as_they_are_now() -> None:
    told = Told(problems=(Problem("a.yaml", "kind", "x", "Service"),) * 3)
    assert found(told)["interceptor_table_problems"] == {(): 3.0}


def test_drops_of_the_queue_stand_by_themselves_and_gauges_are_not_counted() -> None:
    counters = Counters(
        queries={("nfqueue", "answer", "A"): 4},
        events={"queue-full": 2, "tcp-relayed": 5, "kept-from-kernel": 9},
        buckets=(),
        sum_s=0.0,
    )
    told = figure._dns(counters)
    assert told["dns_queue_dropped"] == {("queue",): 2.0, ("socket",): 0.0}
    assert told["dns_events"] == {("tcp-relayed",): 5.0}
    assert told["dns_queries"] == {("nfqueue", "answer", "A"): 4.0}


def test_without_programs_there_is_nothing_of_their_maps() -> None:
    assert not [name for name in found(Told()) if "map" in name or "lease" in name]
