"""The metrics page is what design §11 names, in Prometheus' own format."""

from __future__ import annotations

import os

import pytest
from prometheus_client.parser import text_string_to_metric_families

from interceptor.debug.metrics import FAMILIES, Kind, Snapshot, Values, render

ORDER = ("plane", "result", "qtype", "direction", "what", "le")


def queries(counts: dict[tuple[str, str, str], float]) -> Snapshot:
    return Snapshot({"interceptor_dns_queries": counts})


def samples(snapshot: Snapshot) -> dict[str, float]:
    parsed = text_string_to_metric_families(render(snapshot).decode())
    return {
        sample.name + "".join(f"|{sample.labels[key]}" for key in ORDER if key in sample.labels): (
            sample.value
        )
        for family in parsed
        for sample in family.samples
    }


def test_queries_carry_plane_result_and_type() -> None:
    found = samples(queries({("nfqueue", "answer", "A"): 3, ("tcp", "pass", "MX"): 2}))
    assert found["interceptor_dns_queries_total|nfqueue|answer|A"] == 3
    assert found["interceptor_dns_queries_total|tcp|pass|MX"] == 2


def test_istios_names_are_aliases() -> None:
    found = samples(queries({("nfqueue", "answer", "A"): 3, ("nfqueue", "pass", "A"): 2}))
    assert found["istio_agent_dns_requests_total"] == 5
    assert found["istio_agent_dns_upstream_requests_total"] == 2
    assert found["istio_agent_dns_upstream_failures_total"] == 0
    assert found["istio_agent_dns_upstream_request_duration_seconds_count"] == 0


def test_forward_zones_are_what_istio_calls_upstream() -> None:
    asked = {("handover", "forward", "A"): 4.0, ("ebpf", "pass", "A"): 1.0}
    events = {("forward-failed",): 2.0, ("forward-full",): 1.0, ("forward-asked",): 9.0}
    figures = {"interceptor_dns_queries": asked, "interceptor_dns_events": events}
    found = samples(Snapshot(figures))  # type: ignore[arg-type]
    assert found["istio_agent_dns_upstream_requests_total"] == 5
    assert found["istio_agent_dns_upstream_failures_total"] == 3


def test_whatever_leaves_a_query_alone_counts_as_left_to_its_server() -> None:
    untouched = ("pass", "odd", "odd-short", "long", "exempt", "no-worker", "lease", "no-view")
    found = samples(
        queries(
            {
                **{("ebpf", result, "A"): 1 for result in untouched},
                **{("ebpf", result, "A"): 100 for result in ("answer", "nodata", "error")},
            }
        )
    )
    assert found["istio_agent_dns_upstream_requests_total"] == len(untouched)


def test_the_answer_time_is_a_histogram() -> None:
    now = Snapshot(answer_buckets=((0.001, 4), (float("inf"), 5)), answer_sum_s=0.5)
    found = samples(now)
    assert found["interceptor_dns_answer_seconds_bucket|0.001"] == 4
    assert found["interceptor_dns_answer_seconds_count"] == 5
    assert found["interceptor_dns_answer_seconds_sum"] == 0.5


def test_table_connections_and_reassertions_are_there() -> None:
    found = samples(
        Snapshot(
            {
                "interceptor_table_hosts": {(): 7},
                "interceptor_table_age_seconds": {(): 1.5},
                "interceptor_captured_connections": {("iptables", "outbound"): 9},
                "interceptor_reassert": {("rules",): 1},
            }
        )
    )
    assert found["interceptor_table_hosts"] == 7
    assert found["interceptor_table_age_seconds"] == 1.5
    assert found["interceptor_captured_connections_total|iptables|outbound"] == 9
    assert found["interceptor_reassert_total|rules"] == 1


def test_what_the_page_does_not_know_is_not_shown_under_any_name() -> None:
    with pytest.raises(ValueError, match="interceptor_hots"):
        render(Snapshot({"interceptor_hots": {(): 1}}))


def test_every_family_is_on_the_page_under_the_name_that_queries_use() -> None:
    figures = {each.name: {("x",) * len(each.labels): 1.0} for each in FAMILIES}
    parsed = text_string_to_metric_families(render(Snapshot(figures)).decode())
    there = {sample.name: set(sample.labels) for family in parsed for sample in family.samples}
    for each in FAMILIES:
        assert there[each.page_name] == set(each.labels), each.name
        assert each.page_name.endswith("_total") == (each.kind is Kind.COUNTER)


def test_processes_are_told_of_by_the_names_that_everybody_uses() -> None:
    found = samples(Snapshot(processes={"interceptor_dns_worker": os.getppid()}))
    assert found["process_resident_memory_bytes"] > 1e6
    assert found["process_cpu_seconds_total"] > 0
    assert found["interceptor_dns_worker_process_start_time_seconds"] > 1e9


def test_a_process_that_is_gone_is_not_told_of() -> None:
    found = samples(Snapshot(processes={"interceptor_dns_worker": 2**22 + 1}))
    assert not [name for name in found if name.startswith("interceptor_dns_worker")]


def test_the_end_of_a_certificate_has_istio_s_name_too() -> None:
    ends: Values = {("default",): 60.0, ("ROOTCA",): -1.0}
    page = render(Snapshot(figures={"interceptor_cert_expiry_seconds": ends})).decode()
    for name in ("interceptor", "istio_agent"):
        assert f'{name}_cert_expiry_seconds{{resource_name="default"}} 60.0\n' in page
        assert f'{name}_cert_expiry_seconds{{resource_name="ROOTCA"}} -1.0\n' in page
    assert "cert_expiry" not in render(Snapshot()).decode()
