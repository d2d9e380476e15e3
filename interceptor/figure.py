"""The figures of a running daemon for a scrape, each part's by itself."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from time import monotonic

import interceptor
from interceptor.capture import fill, lease, tally
from interceptor.capture.drift import Cause
from interceptor.capture.plan import Plane
from interceptor.debug.metrics import Snapshot, Values
from interceptor.dns.plane import Counters
from interceptor.errors import InterceptorError
from interceptor.running import Running, good_age_s, has_programs, ready
from interceptor.sidecar.managed import Managed
from interceptor.sidecar.process import State
from interceptor.source import moment

DROPS = {"queue-full": "queue", "socket-full": "socket"}
"""The worker's events that are packets which the kernel dropped → what was full."""
GAUGED = ("kept-from-kernel",)
"""Among the worker's events, what is not counted but is so."""

ASKED = "asked"
"""Among what is counted of configuration, Envoy's own requests."""

CAUSES = tuple(each.value for each in Cause)
"""All of them are told from the start, as 0: a rate sees the first one, too."""

Figures = Mapping[str, Values]


def snapshot(daemon: Running) -> Snapshot:
    """Every figure of the metrics page. Blocks for some milliseconds: rules are asked."""
    plane, sidecar = daemon.plane, daemon.sidecar
    groups = [_agent(daemon), _table(daemon), _capture(daemon), _programs(daemon)]
    processes: dict[str, int] = {}
    counters = None
    if plane is not None:
        counters = plane.counters
        groups += [_dns(counters), _worker(plane.is_alive, plane.beat_age_s, plane.restarts)]
        processes["interceptor_dns_worker"] = plane.pid or 0
    if sidecar is not None:
        groups.append(_sidecar(sidecar))
        processes["interceptor_sidecar"] = sidecar.process.pid
    groups.append(daemon.membership.figures())
    figures = {f"interceptor_{name}": values for group in groups for name, values in group.items()}
    return Snapshot(
        figures=figures,
        answer_buckets=counters.buckets if counters else (),
        answer_sum_s=counters.sum_s if counters else 0.0,
        processes={prefix: pid for prefix, pid in processes.items() if pid},
    )


def _one(value: float) -> Values:
    """Of a family without labels."""
    return {(): float(value)}


def _agent(daemon: Running) -> Figures:
    reload = daemon.reload
    return {
        "ready": _one(ready(daemon)[0]),
        "build_info": {(interceptor.__version__,): 1.0},
        "supervisor_restarts": _one(daemon.lifeline.restarts),
        "loop_longest_pause_seconds": _one(daemon.lifeline.longest_s),
        "trace_listeners": _one(daemon.hub.listening),
        "trace_left_out": _one(daemon.hub.left_out),
        "config_last_reload_successful": _one(not reload.refused),
        "config_last_reload_success_timestamp_seconds": _one(_date(reload.taken_s)),
        "config_last_reload_refused_timestamp_seconds": _one(
            _date(reload.refused_s) if reload.refused_s is not None else 0.0
        ),
    }


@lru_cache(maxsize=64)
def _date(monotonic_s: float) -> float:
    """Seconds since 1970 of a time by `monotonic`: for people and dashboards only. The same at
    each scrape, for a change means that something happened."""
    return moment.now().wall_s - (monotonic() - monotonic_s)


def _table(daemon: Running) -> Figures:
    figures = {
        "table_hosts": _one(len(daemon.table)),
        "table_age_seconds": _one(good_age_s(daemon)),
        "table_rejected": _one(daemon.rejected),
        "table_problems": _one(len(daemon.problems)),
        "table_warnings": _one(len(daemon.table.warnings)),
        "table_held_documents": _one(daemon.standing.held),
        "table_recalled_documents": _one(daemon.standing.recalled),
    }
    if daemon.has_table:
        figures["table_load_seconds"] = _one(daemon.load_s)
        figures["table_loaded_timestamp_seconds"] = _one(_date(daemon.loaded_s))
    return figures


def _capture(daemon: Running) -> Figures:
    guard, choice, waits = daemon.guard, daemon.choice, daemon.guard.waits()
    figures: dict[str, Values] = {
        "capture_installed": _one(guard.plan is not None),
        "backend_info": {(choice.tcp, choice.dns): 1.0},
        "drift": _one(guard.drift),
        "reassert": {(what,): float(guard.repairs[what]) for what in CAUSES},
        "reassert_wait_seconds": {(what,): waits.get(what, 0.0) for what in CAUSES},
        "reassert_failures": {(what,): float(guard.failures[what]) for what in ("look", "repair")},
    }
    if guard.plan is not None and Plane.TCP in guard.plan.planes:
        if choice.tcp == "ebpf":
            decisions = tally.observe_decisions(daemon.config.capture.bpf_dir)
            figures["capture_decisions"] = {(why,): float(n) for why, n in decisions.items()}
            counted = tally.steered(decisions)
        else:
            name = f"iptables-{choice.variant}" if choice.tcp == "iptables" else choice.tcp
            counted = tally.observe(name, guard.plan.steering)
        figures["captured_connections"] = {
            (choice.tcp, way): float(counted[way]) for way in ("outbound", "inbound")
        }
    return figures


def _programs(daemon: Running) -> Figures:
    """Of the ebpf back end's maps; nothing where it is not in use, or they cannot be read."""
    if not has_programs(daemon):
        return {}
    folder = daemon.config.capture.bpf_dir
    try:
        filled, age_s = fill.observe(folder), lease.observe_age_s(folder)
    except (InterceptorError, OSError):
        return {}
    figures: dict[str, Values] = {
        "lease_limit_seconds": _one(daemon.config.agent.lease_s),
        "map_entries": {(name,): float(each.entries) for name, each in filled.items()},
        "map_capacity_entries": {(name,): float(each.capacity) for name, each in filled.items()},
    }
    if age_s is not None:
        figures["lease_age_seconds"] = _one(age_s)
    return figures


def _dns(counters: Counters) -> Figures:
    events = counters.events
    return {
        "dns_queries": {label: float(count) for label, count in counters.queries.items()},
        "dns_queue_dropped": {
            (full,): float(events.get(event, 0)) for event, full in DROPS.items()
        },
        "dns_events": {
            (event,): float(count)
            for event, count in events.items()
            if event not in DROPS and event not in GAUGED
        },
    }


def _worker(is_alive: bool, beat_age_s: float, restarts: int) -> Figures:
    return {
        "dns_worker_up": _one(is_alive),
        "dns_worker_beat_age_seconds": _one(beat_age_s),
        "worker_restarts": _one(restarts),
    }


def _sidecar(sidecar: Managed) -> Figures:
    process, served = sidecar.process, sidecar.feed.status()
    figures: dict[str, Values] = {
        "sidecar_up": _one(process.state is State.LIVE),
        "sidecar_restarts": _one(process.restarts),
        "sidecar_hangs": _one(process.hangs),
        "sidecar_conflicts": _one(len(sidecar.conflicts)),
        "xds_streams": _one(served.streams),
        "xds_nacks": _one(
            sum(count for (what, _), count in served.counts.items() if what == "refused")
        ),
        "xds_responses": {
            (what, kind.lower()): float(count)
            for (what, kind), count in served.counts.items()
            if what != ASKED
        },
        "xds_refused_resources": _one(sum(len(item.names) for item in served.refusals)),
    }
    if latencies := sorted(served.latencies_s):
        figures["xds_ack_median_seconds"] = _one(latencies[len(latencies) // 2])
    if (uplink := served.uplink) is not None:
        figures |= {
            "xds_requests": {
                (kind.lower(),): float(count)
                for (what, kind), count in served.counts.items()
                if what == ASKED
            },
            "xds_streams_ended": {("envoy",): served.ended, ("control_plane",): uplink.ends},
            "xds_control_plane_up": _one(uplink.is_up),
            "xds_control_plane_failures": _one(uplink.failures),
        }
    return figures
