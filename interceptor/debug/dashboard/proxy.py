"""The dashboard's row on the sidecar, and all rows in their order. Values only."""

from __future__ import annotations

from interceptor.debug.dashboard import query
from interceptor.debug.dashboard.form import Panel, Row, Unit
from interceptor.debug.dashboard.plane import CAPTURE, DNS
from interceptor.debug.dashboard.state import HEALTH, TABLE

SIDECAR = Row(
    "Sidecar",
    (
        query.per_second(
            "Requests by service",
            "Envoy's own count, the ten busiest.",
            {
                query.busiest(query.rate("envoy_cluster_upstream_rq_total", "cluster_name")): (
                    "{{cluster_name}}"
                )
            },
        ),
        query.per_second(
            "Connections by service",
            "Envoy's own count, the ten busiest.",
            {
                query.busiest(query.rate("envoy_cluster_upstream_cx_total", "cluster_name")): (
                    "{{cluster_name}}"
                )
            },
        ),
        Panel(
            "Time of a request, p99",
            "HTTP services, the ten slowest.",
            {
                query.busiest(
                    query.quantile(0.99, "envoy_cluster_upstream_rq_time", "le, cluster_name")
                )
                + " / 1000": "{{cluster_name}}"
            },
            Unit.SECONDS,
        ),
        query.per_second(
            "Connections that failed",
            "Refused or timed out by an endpoint, or no endpoint was healthy.",
            {
                query.rate(
                    "envoy_cluster_upstream_cx_connect_fail", "cluster_name"
                ): "{{cluster_name}}",
                query.rate("envoy_cluster_upstream_cx_none_healthy", "cluster_name"): (
                    "none healthy {{cluster_name}}"
                ),
            },
        ),
        query.per_second(
            "Answers by class",
            "HTTP services.",
            {
                query.rate("envoy_cluster_upstream_rq_xx", "envoy_response_code_class"): (
                    "{{envoy_response_code_class}}xx"
                )
            },
        ),
        Panel(
            "Connections to endpoints",
            "Open now.",
            {
                query.busiest(query.total("envoy_cluster_upstream_cx_active", "cluster_name")): (
                    "{{cluster_name}}"
                )
            },
        ),
        query.per_second(
            "Configuration",
            "Responses sent to Envoy, acknowledged and refused.",
            {query.rate("interceptor_xds_responses_total", "what"): "{{what}}"},
        ),
        Panel(
            "Refused by Envoy",
            "Resources that are not in force; `interceptor status` gives Envoy's reason.",
            {
                query.total("interceptor_xds_refused_resources"): "now {{instance}}",
                query.grown("interceptor_xds_nacks_total"): "in five minutes {{instance}}",
                query.total("interceptor_sidecar_conflicts"): "conflicts {{instance}}",
            },
        ),
        Panel(
            "Time until Envoy has a change",
            "Median of the last 1024 responses.",
            {query.of("interceptor_xds_ack_median_seconds"): "{{instance}}"},
            Unit.SECONDS,
        ),
        Panel(
            "Envoy's streams and hangs",
            "",
            {
                query.total("interceptor_xds_streams"): "streams {{instance}}",
                query.grown("interceptor_sidecar_hangs_total"): (
                    "hangs in five minutes {{instance}}"
                ),
            },
        ),
    ),
)

ROWS = (HEALTH, DNS, CAPTURE, TABLE, SIDECAR)
