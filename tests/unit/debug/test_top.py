"""Two looks and what was told between them become rows, each rate over the time between."""

from __future__ import annotations

import json

from interceptor.debug import top
from interceptor.debug.ranking import Ranking
from interceptor.debug.reading import Reading
from interceptor.debug.top import CountRow
from tests.unit.debug import showcase


def test_queries_are_summed_over_their_types() -> None:
    found = showcase.view().queries
    assert found == (
        CountRow(("ebpf", "answer"), 1000.0, 4000.0),
        CountRow(("ebpf", "pass"), 100.0, 400.0),
    )


def test_names_stand_in_the_order_of_their_rates() -> None:
    found = showcase.view().names
    assert (found[0].name, found[0].rate) == ("reviews.bookinfo.svc.cluster.local", 10.0)
    assert found[0].verdicts == {"answer": 20}
    assert found[0].callers == ("curl",)
    assert [row.name for row in found[1:3]] == ["host00.example", "host01.example"]


def test_services_are_the_sidecars_own_figures() -> None:
    (row,) = showcase.view().services
    assert row.name == "reviews.bookinfo.svc.cluster.local:9080"
    assert (row.requests, row.connections, row.failed, row.errors) == (300.0, 100.0, 50.0, 0.0)
    assert (row.active, row.p50_s, row.p99_s) == (3, 0.0015, 0.02)


def test_a_service_that_has_no_requests_tells_how_long_connecting_takes() -> None:
    cluster = {"cluster": "x", "connections": 4, "connect_p50_ms": 2.0, "connect_p99_ms": 3.0}
    view = top.build(Reading(0), Reading(2, clusters=(cluster,)), Ranking())
    (row,) = view.services
    assert (row.requests, row.connections, row.p50_s, row.p99_s) == (0.0, 2.0, 0.002, 0.003)


def test_reasons_are_told_with_their_rates() -> None:
    assert showcase.view().reasons == (
        CountRow(("dns", "pass", "no name of the mesh"), 15.0),
        CountRow(("dns", "answer", "Service bookinfo/reviews"), 10.0),
    )


def test_cluster_names_are_said_as_people_do() -> None:
    assert top.service_name("outbound|80||a.b") == "a.b:80"
    assert top.service_name("outbound|80|v2|a.b") == "a.b:80 (v2)"
    assert top.service_name("inbound|8080||") == "inbound :8080"
    assert top.service_name("PassthroughCluster") == "PassthroughCluster"


def test_a_process_shows_the_cores_that_it_keeps_busy() -> None:
    def look(at_s: float, used_s: float) -> Reading:
        figures = {
            "interceptor_dns_worker_process_cpu_seconds_total": {(): used_s},
            "interceptor_dns_worker_process_resident_memory_bytes": {(): 5e7},
        }
        return Reading(at_s, figures=figures)

    (load,) = top.build(look(0, 3), look(2, 4), Ranking()).loads
    assert (load.name, load.cores, load.resident) == ("dns worker", 0.5, 5e7)


def test_the_view_is_json_without_anything_that_json_has_not() -> None:
    tree = json.loads(json.dumps(top.encode(showcase.view()), allow_nan=False))
    assert tree["names"][0]["name"] == "reviews.bookinfo.svc.cluster.local"
    assert tree["status"]["backend"] == "ebpf"
    assert tree["answer_p50_s"] == 1e-05


def test_a_daemon_that_is_away_is_the_view() -> None:
    view = top.build(showcase.look(0, 1), Reading(2, problem="no daemon answers"), Ranking())
    assert (view.problem, view.services, view.queries) == ("no daemon answers", (), ())
