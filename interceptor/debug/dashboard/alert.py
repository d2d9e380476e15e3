"""Alert rules for Prometheus: what somebody has to look at, and where to begin. Pure.

The scrape's job has to be called ``interceptor`` for the one rule that sees a host that
does not answer. docs/alerts.yaml is a copy; a test holds the two together.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import yaml


class Severity(enum.Enum):
    """critical: mesh calls fail now; warning: they will, or something is not as asked for."""

    CRITICAL = "critical"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Alert:
    """``lasting`` is how long the expression has to hold, in Prometheus's words."""

    name: str
    expression: str
    lasting: str
    severity: Severity
    summary: str
    action: str


ALERTS = (
    Alert(
        "InterceptorAway",
        'up{job="interceptor"} == 0',
        "2m",
        Severity.CRITICAL,
        "the agent on {{ $labels.instance }} does not answer",
        "systemctl status interceptor; journalctl -u interceptor",
    ),
    Alert(
        "InterceptorNotReady",
        "interceptor_ready == 0",
        "2m",
        Severity.CRITICAL,
        "the agent on {{ $labels.instance }} is not ready",
        "interceptor status: its second line says what is missing",
    ),
    Alert(
        "InterceptorTableStale",
        "interceptor_table_age_seconds > 600",
        "5m",
        Severity.WARNING,
        "what {{ $labels.instance }} knows of the mesh is {{ $value | humanizeDuration }} old",
        "interceptor status: table, rejected; then interceptor mesh check",
    ),
    Alert(
        "InterceptorDocumentsRefused",
        "interceptor_table_problems > 0",
        "10m",
        Severity.WARNING,
        "{{ $value }} problems in mesh documents of {{ $labels.instance }}",
        "interceptor mesh check: every problem with its file and line",
    ),
    Alert(
        "InterceptorDrift",
        "interceptor_drift == 1",
        "2m",
        Severity.CRITICAL,
        "rules or programs on {{ $labels.instance }} are not as they should be",
        "interceptor plan --diff; interceptor status names who shares the hooks",
    ),
    Alert(
        "InterceptorReassertFight",
        "increase(interceptor_reassert_total[15m]) > 5 or interceptor_reassert_wait_seconds > 0",
        "1m",
        Severity.WARNING,
        "somebody removes our {{ $labels.what }} on {{ $labels.instance }} again and again",
        "interceptor status: neighbours",
    ),
    Alert(
        "InterceptorRepairFails",
        "increase(interceptor_reassert_failures_total[15m]) > 2",
        "0m",
        Severity.WARNING,
        "what is installed on {{ $labels.instance }} cannot be looked at or put back",
        "journalctl -u interceptor",
    ),
    Alert(
        "InterceptorDnsWorkerRestarts",
        "increase(interceptor_worker_restarts_total[15m]) > 2",
        "0m",
        Severity.WARNING,
        "the DNS worker on {{ $labels.instance }} ends again and again",
        "journalctl -u interceptor: the line `dns: worker ...` says why",
    ),
    Alert(
        "InterceptorQueueDrops",
        "increase(interceptor_dns_queue_dropped_total[5m]) > 0",
        "1m",
        Severity.WARNING,
        "the kernel drops DNS packets on {{ $labels.instance }}: {{ $labels.full }} full",
        "interceptor top: who asks so much; then dns.queue_length, or back end ebpf",
    ),
    Alert(
        "InterceptorSidecarDown",
        "interceptor_sidecar_up == 0",
        "1m",
        Severity.CRITICAL,
        "Envoy on {{ $labels.instance }} is not live",
        "interceptor status: sidecar; sidecar.log in the run directory",
    ),
    Alert(
        "InterceptorSidecarRestarts",
        "increase(interceptor_sidecar_restarts_total[15m]) > 2"
        " or increase(interceptor_sidecar_hangs_total[15m]) > 0",
        "0m",
        Severity.WARNING,
        "Envoy on {{ $labels.instance }} ends or hangs",
        "interceptor status: sidecar; sidecar.log in the run directory",
    ),
    Alert(
        "InterceptorNacks",
        "interceptor_xds_refused_resources > 0",
        "1m",
        Severity.WARNING,
        "Envoy on {{ $labels.instance }} refuses {{ $value }} resources",
        "interceptor status: sidecar, refused, with Envoy's reason",
    ),
    Alert(
        "InterceptorIdentity",
        "interceptor_identity_alarms > 0",
        "1m",
        Severity.WARNING,
        "the certificate or token of {{ $labels.instance }} has ended, or will and is not replaced",
        "interceptor status: identity, alarms",
    ),
    Alert(
        "InterceptorWorkloadUnfit",
        "interceptor_workload_healthy == 0",
        "5m",
        Severity.WARNING,
        "by its probes the service of {{ $labels.instance }} is not fit: nobody is sent there",
        "interceptor status: workload, health says what the last probe said",
    ),
    Alert(
        "InterceptorMapNearlyFull",
        "interceptor_map_entries / interceptor_map_capacity_entries > 0.8",
        "5m",
        Severity.WARNING,
        "the BPF map {{ $labels.map }} on {{ $labels.instance }} is "
        "{{ $value | humanizePercentage }} full",
        "interceptor top: which destinations; what does not fit is not captured",
    ),
    Alert(
        "InterceptorNotCaptured",
        'increase(interceptor_capture_decisions_total{result="full"}[5m]) > 0',
        "0m",
        Severity.CRITICAL,
        "connections on {{ $labels.instance }} are not captured for want of room",
        "interceptor top: which destinations",
    ),
    Alert(
        "InterceptorLeaseRunsOut",
        "interceptor_lease_age_seconds > 0.8 * interceptor_lease_limit_seconds",
        "0m",
        Severity.CRITICAL,
        "the programs on {{ $labels.instance }} are about to take the agent for lost",
        "interceptor status: looked_after, longest_pause_s; the host may be overloaded",
    ),
    Alert(
        "InterceptorReloadRefused",
        "interceptor_config_last_reload_successful == 0",
        "5m",
        Severity.WARNING,
        "a changed configuration on {{ $labels.instance }} is not in force",
        "interceptor status: reload_refused; interceptor config check",
    ),
    Alert(
        "InterceptorRestarts",
        "increase(interceptor_supervisor_restarts_total[15m]) > 1 or"
        " (changes(process_start_time_seconds[15m]) > 2 and on (instance, job)"
        " interceptor_build_info)",
        "0m",
        Severity.WARNING,
        "the agent on {{ $labels.instance }} ends or hangs again and again",
        "interceptor status: looked_after; journalctl -u interceptor",
    ),
)


def render(alerts: Sequence[Alert]) -> str:
    """A rule file of one group."""
    rules = [
        {
            "alert": alert.name,
            "expr": alert.expression,
            "for": alert.lasting,
            "labels": {"severity": alert.severity.value},
            "annotations": {"summary": alert.summary, "description": alert.action},
        }
        for alert in alerts
    ]
    tree = {"groups": [{"name": "interceptor", "rules": rules}]}
    return yaml.safe_dump(tree, sort_keys=False, width=100)
