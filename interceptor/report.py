"""What the daemon tells of itself: the status tree, and the figures for a scrape."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Protocol

import interceptor
from interceptor.capture import tally
from interceptor.capture.backend import Choice
from interceptor.capture.guard import Guard
from interceptor.capture.plan import Plane as PlanPlane
from interceptor.config import Config
from interceptor.debug import metrics
from interceptor.debug.http import Pages
from interceptor.debug.metrics import Snapshot
from interceptor.dns.plane import Plane as DnsPlane
from interceptor.errors import Problem
from interceptor.host.lifeline import Lifeline
from interceptor.mesh import export
from interceptor.mesh.table import MeshTable
from interceptor.reload import Reload
from interceptor.sidecar.managed import Managed
from interceptor.sidecar.process import State
from interceptor.source.event import Standing


class Running(Protocol):
    """The parts of a daemon that are told of. ``*_s`` are seconds, times by `monotonic`."""

    config: Config
    choice: Choice
    guard: Guard
    plane: DnsPlane | None
    sidecar: Managed | None
    table: MeshTable
    has_table: bool
    is_started: bool
    problems: tuple[Problem, ...]
    rejected: int
    began_s: float
    loaded_s: float
    load_s: float
    standing: Standing
    told_s: float
    confirmed: asyncio.Event
    lifeline: Lifeline
    reload: Reload


def ready(daemon: Running) -> tuple[bool, str]:
    """Whether rules and table are in, and what is missing."""
    missing = []
    if daemon.guard.plan is None:
        missing.append("rules are not installed")
    elif not daemon.is_started:
        missing.append("the start is not over")
    if not daemon.has_table:
        missing.append("no table has been loaded")
    if daemon.plane is not None and not daemon.plane.is_alive:
        missing.append("the DNS worker is away")
    if daemon.sidecar is not None and daemon.sidecar.process.state is not State.LIVE:
        missing.append(f"the sidecar is {daemon.sidecar.process.state.value}")
    return not missing, "; ".join(missing) or "ready"


def status(daemon: Running) -> dict[str, object]:
    """The tree that `interceptor status --json` prints. Blocks as `snapshot` does."""
    is_ready, why = ready(daemon)
    tree: dict[str, object] = {
        "ready": is_ready,
        "why": why,
        "version": interceptor.__version__,
        "pid": os.getpid(),
        "uptime_s": round(monotonic() - daemon.began_s, 1),
        "backend": daemon.guard.backend.name,
        "backend_why": list(daemon.choice.why),
        "drift": daemon.guard.drift,
        "confirmed": daemon.confirmed.is_set(),
        "table": _table(daemon),
        "dns": _dns(daemon),
        "capture": _capture(daemon),
        "sidecar": _sidecar(daemon),
        "reasserted": dict(daemon.guard.repairs),
        "reassert_waits_s": daemon.guard.waits(),
        "neighbours": [each.text() for each in daemon.guard.neighbours()],
        "looked_after": _looked_after(daemon.lifeline),
        "reload_refused": list(daemon.reload.refused),
    }
    return tree


def _looked_after(lifeline: Lifeline) -> dict[str, object]:
    """Who ends and restarts this daemon when it hangs, and what became of those before."""
    return {
        "by": lifeline.who,
        "restarts": lifeline.restarts,
        "why": lifeline.why,
        "longest_pause_s": round(lifeline.longest_s, 2),
    }


def headline(daemon: Running) -> str:
    """How it is, in a line, as `systemctl status` shows it."""
    is_ready, why = ready(daemon)
    hosts = f"{len(daemon.table)} hosts, {daemon.guard.backend.name}"
    return hosts if is_ready else f"{hosts}, not ready: {why}"


def _table(daemon: Running) -> dict[str, object]:
    """``from`` tells where the oldest of it comes from, ``good_age_s`` how long ago that was
    right: 0 as long as the source is."""
    return {
        "source": daemon.config.mesh.source,
        "hosts": len(daemon.table),
        "from": "disk" if daemon.standing.recalled else "source",
        "good_age_s": round(good_age_s(daemon), 1) if daemon.has_table else None,
        "held": daemon.standing.held,
        "age_s": round(monotonic() - daemon.loaded_s, 1) if daemon.has_table else None,
        "load_s": round(daemon.load_s, 3),
        "rejected": [dataclasses.asdict(item) for item in daemon.problems],
        "warnings": [str(item) for item in daemon.table.warnings],
    }


def good_age_s(daemon: Running) -> float:
    """Since when the source contradicts the table in force, or is silent; 0: it does not."""
    standing = daemon.standing
    return standing.age_s + monotonic() - daemon.told_s if standing.held else 0.0


def _dns(daemon: Running) -> dict[str, object]:
    plane = daemon.plane
    if plane is None:
        return {"enabled": False}
    counters = plane.counters
    return {
        "enabled": True,
        "worker_pid": plane.pid,
        "alive": plane.is_alive,
        "beat_age_s": round(plane.beat_age_s, 2),
        "restarts": plane.restarts,
        "queries": [
            {"plane": where, "result": result, "qtype": qtype, "count": count}
            for (where, result, qtype), count in sorted(counters.queries.items())
        ],
        "events": counters.events,
    }


def _capture(daemon: Running) -> dict[str, object]:
    plan = daemon.guard.plan
    if plan is None:
        return {"installed": False}
    return {
        "installed": True,
        "planes": sorted(plane.value for plane in plan.planes),
        "families": list(plan.families),
        "outbound_networks": len(plan.fixed) + len(plan.places),
    }


def _sidecar(daemon: Running) -> dict[str, object]:
    sidecar = daemon.sidecar
    if sidecar is None:
        return {"mode": daemon.config.sidecar.mode}
    served = sidecar.server.status()
    latencies = sorted(served.latencies_s)
    return {
        "mode": "managed",
        "state": sidecar.process.state.value,
        "pid": sidecar.process.pid,
        "adopted": sidecar.process.was_adopted,
        "restarts": sidecar.process.restarts,
        "hangs": sidecar.process.hangs,
        "streams": served.streams,
        "configured": served.is_configured,
        "ack_p50_ms": round(latencies[len(latencies) // 2] * 1000, 2) if latencies else None,
        "refused": [
            {"kind": item.kind.name, "names": list(item.names), "reason": item.reason}
            for item in served.refusals
        ],
        "conflicts": sidecar.conflicts,
    }


def snapshot(daemon: Running) -> Snapshot:
    """Every figure of the metrics page. Blocks for some milliseconds: rules are asked."""
    plane, sidecar = daemon.plane, daemon.sidecar
    figures: dict[str, object] = {}
    if plane is not None:
        counters = plane.counters
        figures = {
            "queries": counters.queries,
            "answer_buckets": counters.buckets,
            "answer_sum_s": counters.sum_s,
            "worker_restarts": plane.restarts,
        }
    if sidecar is not None:
        figures["sidecar_restarts"] = sidecar.process.restarts
        counts = sidecar.server.status().counts
        figures["nacks"] = sum(
            count for (what, _kind), count in counts.items() if what == "refused"
        )
    plan = daemon.guard.plan
    if plan is not None and PlanPlane.TCP in plan.planes:
        back_end = daemon.choice.tcp
        name = f"iptables-{daemon.choice.variant}" if back_end == "iptables" else back_end
        if back_end == "ebpf":
            counted = tally.observe_programs(daemon.config.capture.bpf_dir)
        else:
            counted = tally.observe(name, plan.steering)
        figures["connections"] = {(back_end, way): count for way, count in counted.items()}
    return Snapshot(
        table_hosts=len(daemon.table),
        table_age_s=good_age_s(daemon),
        table_rejected=daemon.rejected,
        reasserted=daemon.guard.repairs,
        **figures,  # type: ignore[arg-type]
    )


def name_table(daemon: Running) -> Mapping[str, object]:
    """The mesh table as istiod's /debug/ndsz prints it."""
    return export.name_table(daemon.table)


def pages(daemon: Running, confirm: Callable[[], bool]) -> Pages:
    """What the daemon's HTTP shows of it."""
    return Pages(
        ready=lambda: ready(daemon),
        metrics=lambda: metrics.render(snapshot(daemon)),
        status=lambda: status(daemon),
        name_table=lambda: name_table(daemon),
        confirm=confirm,
    )
