"""Prometheus metrics (design §11), read from one snapshot at each scrape.

Nothing is counted here: the planes count, the daemon hands over a `Snapshot`.
Istio's four dns_* names are kept as aliases, with the prefix under which its
agent exposes them, so that dashboards outlive a migration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

# Results of one DNS query that leave it to the server that the application chose; the kernel's
# (host/layout.py, DNS_RESULTS) among them, and whatever begins with "odd".
UNTOUCHED = ("pass", "long", "exempt", "torn", "no-worker", "lease", "no-view", "unwritable")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every figure at one moment.

    ``queries``: (plane, result, qtype) → count. ``answer_buckets``: (upper bound
    in seconds, cumulative count), the last bound +Inf. ``connections``: (plane,
    direction) → count, from the rules' own counters. ``reasserted``: what → count.
    """

    queries: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    answer_buckets: tuple[tuple[float, int], ...] = ()
    answer_sum_s: float = 0.0
    connections: Mapping[tuple[str, str], int] = field(default_factory=dict)
    table_hosts: int = 0
    table_age_s: float = 0.0
    table_rejected: int = 0
    reasserted: Mapping[str, int] = field(default_factory=dict)
    worker_restarts: int = 0
    sidecar_restarts: int = 0
    nacks: int = 0


def is_untouched(result: str) -> bool:
    return result in UNTOUCHED or result.startswith("odd")


def _bound(seconds: float) -> str:
    return "+Inf" if seconds == float("inf") else repr(seconds)


def families(now: Snapshot) -> Iterator[Metric]:
    """The metric families of one snapshot."""
    queries = CounterMetricFamily(
        "interceptor_dns_queries",
        "DNS queries seen, by what became of them.",
        labels=["plane", "result", "qtype"],
    )
    for labels, count in sorted(now.queries.items()):
        queries.add_metric(list(labels), count)
    yield queries
    answer = HistogramMetricFamily(
        "interceptor_dns_answer_seconds", "Time from a query's arrival to its answer."
    )
    buckets = [(_bound(bound), float(count)) for bound, count in now.answer_buckets]
    answer.add_metric([], buckets or [("+Inf", 0.0)], now.answer_sum_s)
    yield answer
    connections = CounterMetricFamily(
        "interceptor_captured_connections",
        "Connections handed to the sidecar.",
        labels=["plane", "direction"],
    )
    for pair, count in sorted(now.connections.items()):
        connections.add_metric(list(pair), count)
    yield connections
    reasserted = CounterMetricFamily(
        "interceptor_reassert", "Times that something of ours was put back.", labels=["what"]
    )
    for what, count in sorted(now.reasserted.items()):
        reasserted.add_metric([what], count)
    yield reasserted
    yield from _single_figures(now)
    yield from _istio_aliases(now)


def _single_figures(now: Snapshot) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "interceptor_table_hosts", "Hosts of the mesh table.", value=now.table_hosts
    )
    yield GaugeMetricFamily(
        "interceptor_table_age_seconds",
        "Time since the oldest document in force was last right in its source; 0: it is.",
        value=now.table_age_s,
    )
    for name, text, value in (
        ("table_rejected", "Tables refused because their input was not legal.", now.table_rejected),
        ("worker_restarts", "Times that the DNS worker was started again.", now.worker_restarts),
        ("sidecar_restarts", "Times that Envoy was started again.", now.sidecar_restarts),
        ("xds_nacks", "Resources that Envoy refused.", now.nacks),
    ):
        yield CounterMetricFamily(f"interceptor_{name}", text, value=value)


def _istio_aliases(now: Snapshot) -> Iterator[Metric]:
    passed = sum(count for (_, word, _), count in now.queries.items() if is_untouched(word))
    yield CounterMetricFamily(
        "istio_agent_dns_requests",
        "DNS queries seen (Istio's name).",
        value=sum(now.queries.values()),
    )
    yield CounterMetricFamily(
        "istio_agent_dns_upstream_requests",
        "DNS queries left to the application's own resolver (Istio's name).",
        value=passed,
    )
    yield CounterMetricFamily(
        "istio_agent_dns_upstream_failures",
        "Always 0: nothing is forwarded, so no forwarding fails (Istio's name).",
        value=0,
    )
    upstream = HistogramMetricFamily(
        "istio_agent_dns_upstream_request_duration_seconds",
        "Always empty: nothing is forwarded (Istio's name).",
    )
    upstream.add_metric([], [("+Inf", 0.0)], 0)
    yield upstream


class _Scrape(Collector):
    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        return families(self._snapshot())


def render(snapshot: Snapshot) -> bytes:
    """The Prometheus text format of a snapshot."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Scrape(lambda: snapshot))
    return generate_latest(registry)
