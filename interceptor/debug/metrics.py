"""Prometheus metrics (design §11), read from one snapshot at each scrape.

Nothing is counted here: the parts count, the daemon hands over a `Snapshot`. `FAMILIES`
is the whole list, by which the dashboard and the alerts are checked, too. Istio's four
dns_* names are kept as aliases, with the prefix under which its agent exposes them, so
that dashboards outlive a migration.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
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

ANSWER_SECONDS = "interceptor_dns_answer_seconds"
QUERIES = "interceptor_dns_queries"
EVENTS = "interceptor_dns_events"
FORWARDED = "forward"
UNANSWERED = ("forward-failed", "forward-full", "forward-lost")

FAILURES = "control_plane_failures"

Values = Mapping[tuple[str, ...], float]
"""The values of a family's labels, in its order → the figure. Without labels: ``()``."""


class Kind(enum.Enum):
    """What a figure may do: only grow, or go up and down."""

    COUNTER = "counter"
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. A counter's name on the page ends in ``_total``."""

    name: str
    kind: Kind
    text: str
    labels: tuple[str, ...] = ()

    @property
    def page_name(self) -> str:
        """The name that queries use."""
        return f"{self.name}_total" if self.kind is Kind.COUNTER else self.name


def _counter(name: str, text: str, *labels: str) -> Family:
    return Family(f"interceptor_{name}", Kind.COUNTER, text, labels)


def _gauge(name: str, text: str, *labels: str) -> Family:
    return Family(f"interceptor_{name}", Kind.GAUGE, text, labels)


FAMILIES = (
    _counter(
        "dns_queries", "DNS queries seen, by what became of them.", "plane", "result", "qtype"
    ),
    _gauge("dns_worker_up", "Whether the DNS worker answers; 1: it does."),
    _gauge("dns_worker_beat_age_seconds", "Time since the DNS worker's last life sign."),
    _counter("worker_restarts", "Times that the DNS worker was started again."),
    _counter("dns_queue_dropped", "Packets that the kernel dropped, by what was full.", "full"),
    _counter("dns_events", "What else the DNS worker met.", "event"),
    _counter("captured_connections", "Connections handed to the sidecar.", "plane", "direction"),
    _counter("capture_decisions", "What the programs decided of connections.", "result"),
    _gauge("capture_installed", "Whether rules or programs are in; 1: they are."),
    _gauge("backend_info", "The back ends that are in use; always 1.", "tcp", "dns"),
    _gauge("drift", "Whether the host differs from the plan now; 1: it does."),
    _counter("reassert", "Times that something of ours was put back.", "what"),
    _gauge(
        "reassert_wait_seconds", "Until what somebody removes again and again is put back.", "what"
    ),
    _counter("reassert_failures", "Looks at what is installed, and repairs, that failed.", "what"),
    _gauge("lease_age_seconds", "Time since the programs' lease was renewed."),
    _gauge("lease_limit_seconds", "Age from which the programs take the agent for lost."),
    _gauge("map_entries", "Entries of a BPF map.", "map"),
    _gauge("map_capacity_entries", "Entries that a BPF map has room for.", "map"),
    _gauge("table_hosts", "Hosts of the mesh table."),
    _gauge(
        "table_age_seconds",
        "Time since the oldest document in force was last right in its source; 0: it is.",
    ),
    _counter("table_rejected", "Tables refused because their input was not legal."),
    _gauge("table_problems", "Problems for which documents are refused now."),
    _gauge("table_warnings", "Warnings about documents that are in force."),
    _gauge("table_held_documents", "Documents in force as they last were right."),
    _gauge("table_recalled_documents", "Documents in force as the disk has them."),
    _gauge("table_load_seconds", "Time that the table in force took from source to table."),
    _gauge("table_loaded_timestamp_seconds", "When the table in force was loaded."),
    _gauge("sidecar_up", "Whether the managed Envoy is live; 1: it is."),
    _counter("sidecar_restarts", "Times that Envoy was started again."),
    _counter("sidecar_hangs", "Times that Envoy ran and answered nobody."),
    _gauge("sidecar_conflicts", "Hosts that lost an address and port to another."),
    _counter("xds_nacks", "Resources that Envoy refused."),
    _counter("xds_responses", "Responses sent to Envoy, and its answers.", "what", "kind"),
    _gauge("xds_refused_resources", "Resources that Envoy refuses now."),
    _gauge("xds_streams", "Streams of configuration that are open."),
    _counter("xds_requests", "Requests of Envoy that went to the control plane.", "kind"),
    _counter("xds_streams_ended", "Streams of Envoy's configuration that are over.", "by"),
    _gauge("xds_control_plane_up", "Whether Envoy's stream to the control plane is up; 1: it is."),
    _counter("xds_control_plane_failures", "Attempts in vain to open one."),
    _gauge("xds_ack_median_seconds", "Until Envoy's answer to a response; of the last 1024."),
    _gauge(
        "control_plane_connected",
        "Whether the control plane tells the agent names; 1: its stream is up.",
    ),
    _counter("control_plane_failures", "Attempts in vain to get names from a control plane."),
    _counter("control_plane_streams_ended", "Streams of names that are over, for any reason."),
    _counter(
        "control_plane_responses", "Name tables of the control plane, and our answers.", "what"
    ),
    _gauge(
        "cert_expiry_seconds",
        "Until a certificate ends; default: this VM's, ROOTCA: the first root's.",
        "resource_name",
    ),
    _counter("identity_renewals", "Certificates that this VM was given."),
    _counter("identity_failures", "Attempts in vain to get one."),
    _gauge("identity_alarms", "What is wrong with this VM's identity now, or soon."),
    _gauge("workload_healthy", "Whether this VM's service is fit, by its probes; 1: it is."),
    _counter("workload_probes", "Probes of this VM's service.", "result"),
    _counter("workload_turns", "Times that the health of this VM's service turned.", "to"),
    _gauge("workload_probe_seconds", "How long the last probe took."),
    _gauge("workload_registered", "Whether this VM's own entry is in its file; 1: it is."),
    _gauge("ready", "Whether rules and table are in and everything lives; 1: ready."),
    _gauge("build_info", "The version that runs; always 1.", "version"),
    _counter("supervisor_restarts", "Times that the supervisor started the daemon again."),
    _gauge("loop_longest_pause_seconds", "The longest that the daemon's loop kept others waiting."),
    _gauge("config_last_reload_successful", "Whether the last configuration offered is in force."),
    _gauge(
        "config_last_reload_success_timestamp_seconds", "When the configuration in force was taken."
    ),
    _gauge("config_last_reload_refused_timestamp_seconds", "When one was refused; 0: never."),
    _gauge("trace_listeners", "Who follows live decisions now."),
    _counter("trace_left_out", "Live decisions that were not told, because there were too many."),
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every figure at one moment.

    ``figures``: family → values; a family that has none here is not on the page.
    ``answer_buckets``: (upper bound in seconds, cumulative count), the last bound +Inf.
    ``processes``: prefix of the names → pid; the daemon's own are there anyway.
    """

    figures: Mapping[str, Values] = field(default_factory=dict)
    answer_buckets: tuple[tuple[float, int], ...] = ()
    answer_sum_s: float = 0.0
    processes: Mapping[str, int] = field(default_factory=dict)


def is_untouched(result: str) -> bool:
    return result in UNTOUCHED or result.startswith("odd")


def _bound(seconds: float) -> str:
    return "+Inf" if seconds == float("inf") else repr(seconds)


def families(now: Snapshot) -> Iterator[Metric]:
    """The metric families of one snapshot. Raises ValueError for a figure of no family."""
    if strange := now.figures.keys() - {each.name for each in FAMILIES}:
        raise ValueError(f"no such metric: {', '.join(sorted(strange))}")
    for each in FAMILIES:
        if each.name in now.figures:
            yield _family(each, now.figures[each.name])
    answer = HistogramMetricFamily(ANSWER_SECONDS, "Time from a query's arrival to its answer.")
    buckets = [(_bound(bound), float(count)) for bound, count in now.answer_buckets]
    answer.add_metric([], buckets or [("+Inf", 0.0)], now.answer_sum_s)
    yield answer
    yield from _istio_aliases(now)


def _family(of: Family, values: Values) -> Metric:
    kind = CounterMetricFamily if of.kind is Kind.COUNTER else GaugeMetricFamily
    found = kind(of.name, of.text, labels=of.labels)
    for labels, value in sorted(values.items()):
        found.add_metric(list(labels), value)
    return found


def _istio_aliases(now: Snapshot) -> Iterator[Metric]:
    queries = now.figures.get(QUERIES, {})
    passed = sum(
        count for (_, word, _), count in queries.items() if is_untouched(word) or word == FORWARDED
    )
    events = now.figures.get(EVENTS, {})
    yield CounterMetricFamily(
        "istio_agent_dns_requests", "DNS queries seen (Istio's name).", value=sum(queries.values())
    )
    yield CounterMetricFamily(
        "istio_agent_dns_upstream_requests",
        "DNS queries left to the application's own resolver, or of forward zones (Istio's name).",
        value=passed,
    )
    yield CounterMetricFamily(
        "istio_agent_dns_upstream_failures",
        "Queries of forward zones that no server has answered (Istio's name).",
        value=sum(events.get((word,), 0) for word in UNANSWERED),
    )
    upstream = HistogramMetricFamily(
        "istio_agent_dns_upstream_request_duration_seconds",
        "Always empty: no time is taken of what others answer (Istio's name).",
    )
    upstream.add_metric([], [("+Inf", 0.0)], 0)
    yield upstream
    yield from _istio_xds(now)
    if remaining := now.figures.get("interceptor_cert_expiry_seconds"):
        name, text = "istio_agent_cert_expiry_seconds", "Until a certificate ends (Istio's name)."
        yield _family(Family(name, Kind.GAUGE, text, ("resource_name",)), remaining)


def _istio_xds(now: Snapshot) -> Iterator[Metric]:
    """Istio's names of what passes between Envoy and its control plane; none without one."""
    asked, up = (now.figures.get(f"interceptor_xds_{name}") for name in ("requests", FAILURES))
    if asked is None or up is None:
        return
    answers = now.figures.get("interceptor_xds_responses", {})
    sent = sum(count for (what, _), count in answers.items() if what == "sent")
    ended = now.figures.get("interceptor_xds_streams_ended", {})
    for name, text, count in (
        ("xds_proxy_requests", "Envoy's requests that were carried", sum(asked.values())),
        ("xds_proxy_responses", "Responses that were carried to Envoy", sent),
        ("istiod_connection_failures", "Attempts in vain to reach istiod", sum(up.values())),
        (
            "istiod_connection_terminations",
            "Streams istiod ended",
            ended.get(("control_plane",), 0),
        ),
        ("envoy_connection_terminations", "Streams of Envoy's, over", ended.get(("envoy",), 0)),
    ):
        yield CounterMetricFamily(f"istio_agent_{name}", f"{text} (Istio's name).", value=count)


class _Scrape(Collector):
    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        return families(self._snapshot())


def render(snapshot: Snapshot) -> bytes:
    """The Prometheus text format of a snapshot, and of the processes that it names: those are
    looked at in /proc."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Scrape(lambda: snapshot))
    for prefix, pid in {"": 0, **snapshot.processes}.items():
        ProcessCollector(prefix, partial(str, pid or "self"), registry=registry)
    return generate_latest(registry)
