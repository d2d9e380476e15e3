"""What is wrong behind the rules: the sidecar, its cluster, and who serves there. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from interceptor.capture.plan import Verdict
from interceptor.debug import relayed
from interceptor.debug.case import Case, Connected, Envoy
from interceptor.debug.finding import Cause, Finding, Step
from interceptor.mesh import protocol
from interceptor.mesh.model import Endpoint, Host, Kind, Port, Resolution

TALKS_FIRST = {21: "ftp", 22: "ssh", 25: "smtp", 110: "pop3", 143: "imap", 3306: "mysql"}
"""Ports of protocols in which the server speaks first: an HTTP proxy waits for ever there."""
NOT_HTTP = TALKS_FIRST | {5432: "postgres", 6379: "redis", 27017: "mongo"}
HTTP_WORDS = ("http", "http2", "grpc")


def diagnose(case: Case) -> Iterator[Finding]:
    """Findings from the sidecar's listener to the endpoints. Only the first link that breaks."""
    if case.decision is None or case.decision.verdict is not Verdict.OUTBOUND:
        return
    envoy = case.envoy
    if envoy is not None and case.config.sidecar.mode != "none":
        broken = _of_sidecar(case, envoy)
        if broken is not None:
            yield broken
            return
    if relayed.is_so(case):
        yield from relayed.diagnose(case)
        return
    host, port = case.called or (None, None)
    if host is not None and port is not None:
        found = tuple(_of_endpoints(case, host, port))
        yield from found or _of_protocol(case, host, port)


def _of_sidecar(case: Case, envoy: Envoy) -> Finding | None:
    port = case.config.sidecar.outbound_port
    state = case.running.sidecar if case.running is not None else ""
    external = case.config.sidecar.mode == "external"
    if not envoy.listens:
        evidence = [f"no socket listens on port {port}", *_of_state(case, envoy)]
        return Finding(
            Cause.SIDECAR_DOWN,
            Step.LISTENER,
            "the sidecar is away: captured connections are refused",
            tuple(evidence),
            "start the Envoy that sidecar.mode external means"
            if external
            else "see in its log why Envoy ends; the daemon starts it again",
            f"tail {case.config.agent.run_dir}/sidecar.log" if not external else "ss -ltnp",
        )
    if state == "hung":
        return Finding(
            Cause.SIDECAR_HUNG,
            Step.LISTENER,
            "Envoy listens, and answers nobody",
            ("the daemon says: the sidecar is hung",),
            "the daemon ends and restarts it; look for a stopped process or a starved machine",
            f"tail {case.config.agent.run_dir}/sidecar.log",
        )
    if envoy.listener == "" and case.called is not None and case.called[1] is not None:
        return Finding(
            Cause.NO_LISTENER,
            Step.LISTENER,
            "Envoy has no listener for this address and port",
            ("the table has the host, Envoy's configuration does not", *relayed.refusals(case)),
            "see whether Envoy refused the configuration",
            "interceptor status",
        )
    return None


def _of_state(case: Case, envoy: Envoy) -> Iterator[str]:
    """What daemon, control plane and Envoy itself say of its absence."""
    if case.running is not None and case.running.sidecar:
        yield f"the daemon says: the sidecar is {case.running.sidecar}"
    if case.running is not None and case.running.uplink:
        yield f"its control plane is away: {case.running.uplink}"
    yield from relayed.refusals(case)
    if envoy.log:
        yield f"Envoy's last words: {envoy.log}"


def _of_endpoints(case: Case, host: Host, port: Port) -> Iterator[Finding]:
    if host.kind is Kind.HEADLESS or host.resolution is not Resolution.STATIC:
        return
    ready = tuple(endpoint for endpoint in host.endpoints if endpoint.ready)
    if not host.endpoints:
        yield Finding(
            Cause.NO_ENDPOINT,
            Step.ENDPOINTS,
            f"nobody serves {host.name}: it has no endpoint",
            _unselected(case, host),
            "add endpoints, or labels by which its selector finds a WorkloadEntry or Pod",
            f"interceptor mesh show {host.name}",
        )
    elif not ready:
        yield _down(host, tuple(f"{each.address}: not ready" for each in host.endpoints))
    elif all(each.gateways and not each.identity for each in ready):
        yield _out_of_reach(host, ready)
    elif _is_ipv6_only(ready) and _are_unrouted(case, ready):
        yield Finding(
            Cause.IPV6_ONLY,
            Step.ENDPOINTS,
            f"every endpoint of {host.name} is an IPv6 address, and this VM has no IPv6 way there",
            tuple(f"no route to {each.address}" for each in ready),
            "give the endpoint an IPv4 address too, or the VM an IPv6 route",
            f"ip -6 route get {ready[0].address}",
        )
    elif failed := _failures(case, ready, port):
        yield _down(host, failed)


def _unselected(case: Case, host: Host) -> tuple[str, ...]:
    here = sum(1 for each in case.table.workloads if each.namespace == host.namespace)
    lines = [f"document: {host.origin}"] if host.origin else []
    return (*lines, f"namespace {host.namespace} has {here} WorkloadEntries and Pods")


def _is_ipv6_only(endpoints: tuple[Endpoint, ...]) -> bool:
    return all(not isinstance(e.address, str) and e.address.version == 6 for e in endpoints)


def _are_unrouted(case: Case, endpoints: tuple[Endpoint, ...]) -> bool:
    return all(endpoint.address in case.unrouted for endpoint in endpoints)


def _out_of_reach(host: Host, far: tuple[Endpoint, ...]) -> Finding:
    return Finding(
        Cause.ENDPOINTS_DOWN,
        Step.ENDPOINTS,
        f"every endpoint of {host.name} is in another network, and none speaks mutual TLS",
        tuple(f"{each.address}: in network {each.network}" for each in far),
        "label what serves it security.istio.io/tlsMode: istio and give it an identity, or set "
        "node.network to its network where this VM reaches it",
        f"interceptor mesh show {host.name}",
    )


def _down(host: Host, evidence: tuple[str, ...]) -> Finding:
    return Finding(
        Cause.ENDPOINTS_DOWN,
        Step.ENDPOINTS,
        f"every endpoint of {host.name} is down",
        evidence,
        "start the service, or mend its endpoints' addresses and ports",
        f"interceptor mesh show {host.name}",
    )


def _failures(case: Case, ready: tuple[Endpoint, ...], port: Port) -> tuple[str, ...]:
    """What tells that not one endpoint takes connections: no route, the probe's word, or else
    Envoy's own counters. Empty where one does, or nobody knows."""
    if all(each.address in case.unrouted for each in ready):
        return tuple(f"no route to {each.address}" for each in ready)
    direct = case.probe.direct if case.probe is not None else ()
    if direct:
        lines = tuple(f"{each.to}: {each.result}" for each in direct if not _took(each))
        return lines if len(lines) == len(direct) else ()
    upstreams = case.envoy.upstreams if case.envoy is not None else None
    if not upstreams:
        return ()
    failed = tuple(
        f"{each.address}:{each.port}: "
        + (f"{each.failed} connections failed" if each.failed else "not healthy")
        for each in upstreams
        if not each.is_healthy or (each.failed and each.failed >= each.used)
    )
    return failed if len(failed) == len(upstreams) else ()


def _took(tried: Connected) -> bool:
    return tried.result in ("connected", "closed", "reset")


def _of_protocol(case: Case, host: Host, port: Port) -> Iterator[Finding]:
    evidence = tuple(_mismatch(case, port))
    if not evidence:
        return
    other = "tcp-" if port.protocol.is_http else "http-"
    yield Finding(
        Cause.WRONG_PORT_NAME,
        Step.CLUSTER,
        f"port {port.number} of {host.name} is {carried(port)}, and is used as something else",
        evidence,
        f"name the port {other}{port.name.removeprefix('http-')} (protocol[-suffix]), "
        "or say it: appProtocol of a Service, protocol of a ServiceEntry",
        f"interceptor mesh show {host.name}",
    )


def carried(port: Port) -> str:
    """What a port carries, and by what that is known."""
    by_name = protocol.of_name(port.name) is port.protocol
    known = f"by its name {port.name!r}" if by_name else "by its document"
    return f"{port.protocol.value} {known}"


def _mismatch(case: Case, port: Port) -> Iterator[str]:
    """What tells that the port carries another protocol than its name says."""
    if port.protocol.is_http:
        direct = case.probe.direct if case.probe is not None else ()
        for tried in direct:
            if tried.greeting and not tried.greeting.startswith("HTTP/"):
                yield f"{tried.to} speaks first: {tried.greeting!r}; no HTTP server does"
        if port.number in NOT_HTTP:
            yield f"{port.number} is the usual port of {NOT_HTTP[port.number]}"
        return
    if port.protocol.value != "TCP":
        return
    if case.asked.speaks_http:
        yield "the caller speaks HTTP: it gets no routing, retries or metrics of HTTP"
    words = port.name.lower().split("-")
    if misplaced := [word for word in words[1:] if word in HTTP_WORDS]:
        yield f"{misplaced[0]!r} counts in front of the first dash only: {port.name!r} is TCP"
