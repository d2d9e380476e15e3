"""What becomes of a call where a control plane configures Envoy: asked of Envoy, for our table has
names and addresses only. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from interceptor.capture.plan import Verdict
from interceptor.debug.case import Case, Upstream
from interceptor.debug.explain import Explanation, join
from interceptor.debug.finding import Cause, Finding, Step

REFUSALS = 3  # that are told as evidence


def is_so(case: Case) -> bool:
    """Whether this sidecar is configured by a control plane, through us."""
    return case.config.mesh.source == "istiod" and case.config.sidecar.mode == "managed"


def correct(case: Case, told: Explanation) -> Explanation:
    """The explanation with the cluster and the endpoints that Envoy has. Where it was not asked,
    the cluster is the one that istiod's names lead to expect."""
    if case.flow is None or told.verdict != Verdict.OUTBOUND.value or not told.host:
        return told
    envoy = case.envoy
    if envoy is None or not envoy.answers:
        return replace(told, cluster=f"outbound|{case.flow.port}||{told.host}")
    if not envoy.cluster:
        return told
    upstreams = envoy.upstreams or ()
    return replace(
        told,
        cluster=envoy.cluster,
        endpoints=tuple(join(each.address, each.port) for each in upstreams if each.is_healthy),
        backends=tuple(map(_backend, upstreams)),
    )


def _backend(each: Upstream) -> dict[str, object]:
    return {
        "address": each.address,
        "port": each.port,
        "weight": each.weight,
        "locality": "",
        "ready": each.is_healthy,
        "network": "",
        "gateways": [],
        "identity": "",
        "origin": "by Envoy's word",
    }


def diagnose(case: Case) -> Iterator[Finding]:
    """What is wrong behind a listener that Envoy has. Only the first link that breaks."""
    envoy, host = case.envoy, case.called[0] if case.called is not None else None
    if case.flow is None or envoy is None or not envoy.answers or host is None:
        return
    if not envoy.cluster:
        yield Finding(
            Cause.NO_LISTENER,
            Step.CLUSTER,
            f"Envoy has no cluster for port {case.flow.port} of {host.name}",
            ("the name table has the host, Envoy's configuration does not", *refusals(case)),
            "see whether Envoy refused the configuration, and whether the service has that port",
            "interceptor status",
        )
    elif not envoy.upstreams:
        yield Finding(
            Cause.NO_ENDPOINT,
            Step.ENDPOINTS,
            f"nobody serves {host.name}: the control plane gives {envoy.cluster} no endpoint",
            refusals(case),
            "see why its endpoints are missing there: labels, readiness, networks",
            "interceptor status",
        )
    elif not any(each.is_healthy for each in envoy.upstreams):
        yield Finding(
            Cause.ENDPOINTS_DOWN,
            Step.ENDPOINTS,
            f"every endpoint of {host.name} is down",
            tuple(f"{each.address}:{each.port}: not healthy" for each in envoy.upstreams),
            "start the service, or mend its endpoints' addresses and ports",
            "interceptor status",
        )


def refusals(case: Case) -> tuple[str, ...]:
    """What Envoy refuses now, first what names this address or host."""
    told = case.running.refused if case.running is not None else ()
    words = [case.called[0].name] if case.called is not None else []
    words += [str(case.flow.destination)] if case.flow is not None else []
    return tuple(sorted(told, key=lambda line: not any(word in line for word in words))[:REFUSALS])
