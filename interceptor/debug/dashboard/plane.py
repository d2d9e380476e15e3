"""The dashboard's rows on what is answered and what is captured. Values only."""

from __future__ import annotations

from interceptor.debug.dashboard import query
from interceptor.debug.dashboard.form import Panel, Row, Unit

DNS = Row(
    "DNS",
    (
        query.per_second(
            "Queries by fate",
            "answer, nodata, nxdomain: given from the mesh table. All others went on, untouched.",
            {query.rate("interceptor_dns_queries_total", "result"): "{{result}}"},
        ),
        query.per_second(
            "Queries by plane",
            "Who met them: programs, the netfilter queue, TCP/53, container bridges.",
            {query.rate("interceptor_dns_queries_total", "plane"): "{{plane}}"},
        ),
        query.per_second(
            "Queries by type",
            "",
            {query.rate("interceptor_dns_queries_total", "qtype"): "{{qtype}}"},
        ),
        Panel(
            "Share answered from the mesh",
            "Of all queries of a host.",
            {
                query.rate("interceptor_dns_queries_total", "instance", 'result="answer"')
                + " / "
                + query.rate("interceptor_dns_queries_total", "instance"): "{{instance}}"
            },
            Unit.SHARE,
        ),
        Panel(
            "Time of an answer",
            "In the DNS worker, from packet to answer; answers of the programs are not timed.",
            {
                query.quantile(0.5, "interceptor_dns_answer_seconds"): "p50",
                query.quantile(0.99, "interceptor_dns_answer_seconds"): "p99",
            },
            Unit.SECONDS,
        ),
        query.per_second(
            "Packets dropped",
            "By the kernel, because the queue or its socket was full.",
            {
                query.rate("interceptor_dns_queue_dropped_total", "instance, full"): (
                    "{{full}} {{instance}}"
                )
            },
        ),
        query.per_second(
            "Worker's events",
            "",
            {query.rate("interceptor_dns_events_total", "event"): "{{event}}"},
        ),
        Panel(
            "Age of the worker's life sign",
            "From 3 s on it is replaced.",
            {query.of("interceptor_dns_worker_beat_age_seconds"): "{{instance}}"},
            Unit.SECONDS,
        ),
        query.per_second(
            "By Istio's names",
            "The same figures as Istio's agent has them.",
            {
                query.rate("istio_agent_dns_requests_total", "instance"): "requests {{instance}}",
                query.rate("istio_agent_dns_upstream_requests_total", "instance"): (
                    "upstream {{instance}}"
                ),
            },
        ),
    ),
)

CAPTURE = Row(
    "Capture",
    (
        query.per_second(
            "Connections captured",
            "Handed to the sidecar.",
            {
                query.rate("interceptor_captured_connections_total", "plane, direction"): (
                    "{{direction}} ({{plane}})"
                )
            },
        ),
        query.per_second(
            "What the programs decided",
            "Back end ebpf only. full: no room for an alias, not captured.",
            {query.rate("interceptor_capture_decisions_total", "result"): "{{result}}"},
        ),
        Panel(
            "Put back in five minutes",
            "Something of ours that others had removed.",
            {query.grown("interceptor_reassert_total", "what"): "{{what}}"},
        ),
        Panel(
            "Fights",
            "How long the next repair waits, because somebody removes it again and again.",
            {query.of("interceptor_reassert_wait_seconds"): "{{what}} {{instance}}"},
            Unit.SECONDS,
        ),
        Panel(
            "Failed looks and repairs in five minutes",
            "What is installed could not be read, or not be put back.",
            {query.grown("interceptor_reassert_failures_total", "what"): ("{{what}}")},
        ),
        Panel(
            "Installed",
            "1: rules or programs are in.",
            {query.of("interceptor_capture_installed"): "{{instance}}"},
        ),
        Panel(
            "Maps' fill",
            "Back end ebpf only. What does not fit is not captured.",
            {
                query.ratio("interceptor_map_entries", "interceptor_map_capacity_entries"): (
                    "{{map}} {{instance}}"
                )
            },
            Unit.SHARE,
        ),
        Panel(
            "Lease",
            "Back end ebpf only. Its share that is used up; at 100 % the agent counts as lost.",
            {
                query.ratio("interceptor_lease_age_seconds", "interceptor_lease_limit_seconds"): (
                    "{{instance}}"
                )
            },
            Unit.SHARE,
        ),
    ),
)
