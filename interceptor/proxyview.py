"""Envoy looked at from outside, for one call: whether it listens, what it has for it."""

from __future__ import annotations

import os
from dataclasses import replace

from interceptor import inquiry
from interceptor.config import Config
from interceptor.debug import relayed
from interceptor.debug.case import Case, Envoy, Upstream
from interceptor.debug.finding import Step
from interceptor.sidecar import launch
from interceptor.sidecar.admin import LIVE, Admin
from interceptor.sidecar.pid import is_listening

ASK_S = 3.0
LOG_BYTES = 4096
ANYWHERE = ("0.0.0.0", "[::]")  # istiod has one listener for all HTTP services of a port


def observe(case: Case, unknown: dict[Step, str]) -> Envoy:
    """What nobody may look at is noted in ``unknown``."""
    config = case.config
    found = Envoy(is_listening(config.sidecar.outbound_port))
    if config.sidecar.mode != "managed":
        unknown[Step.CLUSTER] = f"sidecar.mode is {config.sidecar.mode}: its admin is not ours"
        return found
    files = launch.files(config.agent.run_dir)
    if not found.listens:
        return replace(found, log=_last_words(config))
    is_open = config.sidecar.admin == "loopback"
    admin = Admin(config.sidecar.admin_port if is_open else files.admin, ASK_S)
    state = admin.state()
    if state != LIVE:
        reason = "only root may ask Envoy" if os.geteuid() != 0 else "Envoy's admin is silent"
        unknown[Step.CLUSTER] = reason
        return replace(found, state=state)
    return _ask(case, admin, replace(found, answers=True, state=state))


def _ask(case: Case, admin: Admin, found: Envoy) -> Envoy:
    """Listener and endpoints of the very call."""
    assert case.flow is not None
    names = admin.listeners()
    hosts = (case.flow.destination, *(ANYWHERE if relayed.is_so(case) else ()))
    wanted = (f"{host}_{case.flow.port}" for host in hosts)
    known = next((name for name in wanted if name in names), "")
    cluster = _own_cluster(case, admin)
    found = replace(found, cluster=cluster)
    cluster = cluster or inquiry.conclude(case).cluster
    states = admin.endpoints(cluster) if cluster else []
    upstreams = tuple(
        Upstream(
            each.address,
            each.port,
            each.weight,
            each.is_healthy,
            each.connections,
            each.failed,
            each.opened,
        )
        for each in states
    )
    return replace(found, listener=known, upstreams=upstreams)


def _own_cluster(case: Case, admin: Admin) -> str:
    """Where a control plane configures it, what Envoy has for the host and port; whole clusters
    before subsets."""
    if not relayed.is_so(case) or case.called is None or case.flow is None:
        return ""
    return next(iter(sorted(admin.clusters(case.called[0].name, case.flow.port))), "")


def _last_words(config: Config) -> str:
    try:
        with launch.files(config.agent.run_dir).log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - LOG_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""
