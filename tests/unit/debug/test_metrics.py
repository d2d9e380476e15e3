"""The metrics page is what design §11 names, in Prometheus' own format."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from interceptor.debug.metrics import Snapshot, render

ORDER = ("plane", "result", "qtype", "direction", "what", "le")


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
    found = samples(Snapshot(queries={("nfqueue", "answer", "A"): 3, ("tcp", "pass", "MX"): 2}))
    assert found["interceptor_dns_queries_total|nfqueue|answer|A"] == 3
    assert found["interceptor_dns_queries_total|tcp|pass|MX"] == 2


def test_istios_names_are_aliases() -> None:
    found = samples(Snapshot(queries={("nfqueue", "answer", "A"): 3, ("nfqueue", "pass", "A"): 2}))
    assert found["istio_agent_dns_requests_total"] == 5
    assert found["istio_agent_dns_upstream_requests_total"] == 2
    assert found["istio_agent_dns_upstream_failures_total"] == 0
    assert found["istio_agent_dns_upstream_request_duration_seconds_count"] == 0


def test_whatever_leaves_a_query_alone_counts_as_left_to_its_server() -> None:
    untouched = ("pass", "odd", "odd-short", "long", "exempt", "no-worker", "lease", "no-view")
    found = samples(
        Snapshot(
            queries={
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
            table_hosts=7,
            table_age_s=1.5,
            connections={("iptables", "outbound"): 9},
            reasserted={"rules": 1},
        )
    )
    assert found["interceptor_table_hosts"] == 7
    assert found["interceptor_table_age_seconds"] == 1.5
    assert found["interceptor_captured_connections_total|iptables|outbound"] == 9
    assert found["interceptor_reassert_total|rules"] == 1
