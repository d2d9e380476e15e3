"""The fate of one flow, told from end to end: name, answer, rule, cluster, endpoints.

Pure: what it needs is handed over. It decides nothing itself; ``scope.decide``
and the answer table do, and the same values drive kernel and sidecar.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from interceptor.capture.plan import Decision, Flow, Hook, Steering, Verdict
from interceptor.mesh.model import Endpoint, Host, Port


@dataclass(frozen=True, slots=True)
class Explanation:
    """What ``explain --json`` prints (design §10), and a little more.

    ``endpoints`` are ``address:port``, ready ones only; ``backends`` tells of all.
    """

    verdict: str
    to: str
    rule: int
    why: str
    host: str = ""
    endpoints: tuple[str, ...] = ()
    name: str = ""
    answer: tuple[str, ...] = ()
    rule_text: tuple[str, ...] = ()
    cluster: str = ""
    backends: tuple[dict[str, object], ...] = field(default_factory=tuple)


def join(address: object, port: int) -> str:
    """``address:port``, an IPv6 address in brackets."""
    text = str(address)
    return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"


def find(hosts: Iterable[Host], flow: Flow) -> tuple[Host, Port | None] | None:
    """The host that is called by the flow's destination, or is offered there where the flow
    arrives. One that has the very port wins, then the first by address, then by network."""
    best: tuple[Host, Port | None] | None = None
    for host in hosts:
        if flow.hook is Hook.PREROUTING:
            if (port := _offered(host, flow)) is not None:
                return host, port
        elif flow.destination in host.addresses:
            port = next((port for port in host.ports if port.number == flow.port), None)
            if port is not None:
                return host, port
            best = best or (host, None)
        elif best is None and any(flow.destination in network for network in host.networks):
            port = next((port for port in host.ports if port.number == flow.port), None)
            best = (host, port)
    return best


def _offered(host: Host, flow: Flow) -> Port | None:
    """The port of the host that this very flow arrives at as one of its endpoints."""
    for endpoint in host.endpoints:
        if endpoint.address == flow.destination:
            for port in host.ports:
                if endpoint.port(port) == flow.port:
                    return port
    return None


def _destination(decision: Decision, flow: Flow, steering: Steering) -> str:
    loopback = "127.0.0.1" if flow.destination.version == 4 else "::1"
    if decision.verdict is Verdict.OUTBOUND:
        return join(loopback, steering.outbound_port)
    if decision.verdict is Verdict.INBOUND:
        return join(loopback, steering.inbound_port)
    if decision.verdict is Verdict.DNS:
        return (
            f"nfqueue {steering.queue}"
            if flow.protocol == "udp"
            else join(loopback, steering.dns_port)
        )
    return join(flow.destination, flow.port)


def _backend(endpoint: Endpoint, port: Port) -> dict[str, object]:
    return {
        "address": str(endpoint.address),
        "port": endpoint.port(port),
        "weight": endpoint.weight or 1,
        "locality": endpoint.locality,
        "ready": endpoint.ready,
        "network": endpoint.network,
        "gateways": [join(address, number) for address, number in endpoint.gateways],
        "identity": endpoint.identity,
        "origin": endpoint.origin,
    }


def explain(
    flow: Flow,
    decision: Decision,
    called: tuple[Host, Port | None] | None,
    *,
    steering: Steering,
    name: str = "",
    answer: tuple[str, ...] = (),
    rule_text: tuple[str, ...] = (),
    unknown: str = "passthrough",
) -> Explanation:
    """``called`` is the host and port that the destination belongs to, where the mesh knows;
    ``unknown`` what the sidecar does with a captured destination that it does not."""
    host, port = called if called is not None else (None, None)
    cluster = ""
    backends: tuple[dict[str, object], ...] = ()
    if host is not None and port is not None:
        if decision.verdict is Verdict.OUTBOUND:
            cluster = f"outbound|{port.number}||{host.name}"
        backends = tuple(_backend(endpoint, port) for endpoint in host.endpoints)
    elif decision.verdict is Verdict.OUTBOUND:
        cluster = "PassthroughCluster" if unknown == "passthrough" else "BlackHoleCluster"
    return Explanation(
        verdict=decision.verdict.value,
        to=_destination(decision, flow, steering),
        rule=decision.rule,
        why=decision.why,
        host=host.name if host is not None else "",
        endpoints=tuple(
            join(item["address"], int(str(item["port"]))) for item in backends if item["ready"]
        ),
        name=name,
        answer=answer,
        rule_text=rule_text,
        cluster=cluster,
        backends=backends,
    )
