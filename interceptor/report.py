"""What the daemon tells of itself: the status tree, and the pages that show it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from time import monotonic

import interceptor
from interceptor import figure
from interceptor.capture import lease
from interceptor.debug import metrics
from interceptor.debug.http import Pages
from interceptor.errors import InterceptorError
from interceptor.host.lifeline import Lifeline
from interceptor.mesh import export
from interceptor.running import Running, good_age_s, has_programs, ready
from interceptor.sidecar import fixture
from interceptor.sidecar.admin import Admin, Unreachable

REFUSALS = 100  # that are told one by one


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
        "lease": _lease(daemon),
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
        **daemon.membership.status(),
    }
    return tree


def _lease(daemon: Running) -> dict[str, object]:
    """The programs' lease, in seconds; nothing where there are no programs."""
    if not has_programs(daemon):
        return {}
    try:
        age_s = lease.observe_age_s(daemon.config.capture.bpf_dir)
    except (InterceptorError, OSError):
        age_s = None
    age_s = None if age_s is None else round(age_s, 2)
    return {"age_s": age_s, "limit_s": daemon.config.agent.lease_s}


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
    served = sidecar.feed.status()
    latencies = sorted(served.latencies_s)
    tree: dict[str, object] = {
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
            {**dataclasses.asdict(item), "names": list(item.names[:REFUSALS])}
            for item in served.refusals[:REFUSALS]
        ],
        "conflicts": sidecar.conflicts,
    }
    if served.uplink is not None:
        since_s = round(served.uplink.since_s, 1)
        tree["control_plane"] = {**dataclasses.asdict(served.uplink), "since_s": since_s}
    return tree


def sidecar_usage(daemon: Running) -> dict[str, object]:
    """How much each cluster is used, by Envoy's own word; the managed one's, or that at
    ``sidecar.admin_port``. Blocks."""
    config = daemon.config.sidecar
    if config.mode == "none":
        return {"clusters": [], "problem": "sidecar.mode is none"}
    admin = daemon.sidecar.admin if daemon.sidecar is not None else Admin(config.admin_port)
    try:
        used = admin.usage()
    except Unreachable as error:
        return {"clusters": [], "problem": str(error)}
    return {
        "clusters": [dataclasses.asdict(each) for each in used if each.cluster not in fixture.OWN],
        "problem": "",
    }


def name_table(daemon: Running) -> Mapping[str, object]:
    """The mesh table as istiod's /debug/ndsz prints it."""
    return export.name_table(daemon.table)


def pages(daemon: Running, confirm: Callable[[], bool]) -> Pages:
    """What the daemon's HTTP shows of it."""
    return Pages(
        ready=lambda: ready(daemon),
        metrics=lambda: metrics.render(figure.snapshot(daemon)),
        status=lambda: status(daemon),
        name_table=lambda: name_table(daemon),
        sidecar=lambda: sidecar_usage(daemon),
        confirm=confirm,
        trace=daemon.hub.listen,
    )
