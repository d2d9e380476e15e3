"""Clusters are read off what a real Envoy prints."""

from __future__ import annotations

import re

from interceptor.sidecar import usage
from interceptor.sidecar.usage import Usage

# As Envoy 1.3x prints them; the interval's share of the first time is empty.
TEXT = """\
cluster.xds-grpc.upstream_cx_active: 1
cluster.xds-grpc.upstream_rq_total: 1
cluster.outbound|9080||reviews.bookinfo.svc.cluster.local;.upstream_cx_active: 2
cluster.outbound|9080||reviews.bookinfo.svc.cluster.local;.upstream_cx_connect_fail: 4
cluster.outbound|9080||reviews.bookinfo.svc.cluster.local;.upstream_cx_total: 12
cluster.outbound|9080||reviews.bookinfo.svc.cluster.local;.upstream_rq_5xx: 3
cluster.outbound|9080||reviews.bookinfo.svc.cluster.local;.upstream_rq_total: 40
cluster.outbound|9080||reviews.bookinfo.svc.cluster.local;.external.upstream_rq_time: P50(nan,9)
cluster.plain.internal.upstream_rq_time: P50(nan,9)
server.uptime: 5
cluster.outbound|9080||reviews.bookinfo.svc.cluster.local;.upstream_cx_connect_ms: \
P0(nan,0) P25(nan,0) P50(nan,0.5) P75(nan,1) P90(nan,1) P95(nan,1) P99(nan,2.5) P100(nan,3)
cluster.outbound|9080||reviews.bookinfo.svc.cluster.local;.upstream_rq_time: \
P0(1,0) P25(1,0) P50(2.05,1.5) P75(nan,1) P90(nan,1) P95(nan,1) P99(7,2.5) P100(nan,3)
cluster.idle;.upstream_rq_time: No recorded values
"""


def test_each_cluster_has_its_figures_and_times() -> None:
    ads, reviews, idle = usage.decode(TEXT)
    assert ads == Usage("xds-grpc", requests=1, active=1)
    assert reviews == Usage(
        cluster="outbound|9080||reviews.bookinfo.svc.cluster.local",
        requests=40,
        errors=3,
        connections=12,
        active=2,
        failed=4,
        request_p50_ms=2.05,
        request_p99_ms=7.0,
        connect_p50_ms=0.5,
        connect_p99_ms=2.5,
    )
    assert idle == Usage("idle")


def test_what_is_asked_for_is_what_is_read() -> None:
    lines = [line for line in TEXT.splitlines() if line.startswith("cluster.")]
    assert len(lines) > 10
    assert all(re.search(usage.PATTERN, line.partition(": ")[0]) for line in lines)
    assert not re.search(usage.PATTERN, "cluster.a;.upstream_rq_total_x")
    assert not re.search(usage.PATTERN, "listener.a.upstream_rq_total")


def test_what_is_no_statistic_is_nothing() -> None:
    assert usage.decode("") == usage.decode("<html>\ncluster.a.upstream_rq_total: x\n") == []
