"""A case looked into on this host: the daemon, the rules, the sidecar, the resolver.

Whoever may not look learns why; everything is bounded in time, and nothing is changed.
"""

from __future__ import annotations

import http.client
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar, cast

from interceptor import inquiry, proxyview
from interceptor.capture import ahead, installed, scope
from interceptor.capture.plan import Flow, Verdict
from interceptor.config import Config
from interceptor.debug import control, naming
from interceptor.debug.case import (
    Case,
    Entry,
    Installed,
    Obstacle,
    Resolver,
    Running,
)
from interceptor.debug.finding import Step
from interceptor.errors import InterceptorError
from interceptor.host import cgroup, dial, hostsfile, lock, nameservice, sockets
from interceptor.mesh.model import Address, Host

T = TypeVar("T")

ASK_S = 3.0
DOT_PORT = 853
FORWARDERS = frozenset(
    ("systemd-resolve", "unbound", "stubby", "dnsmasq", "dnscrypt-proxy", "named", "kresd")
)
"""Servers of this host that ask others over TLS: programs ask them over port 53, which we see."""
ENDPOINTS = 64  # that are looked at one by one


def observe(case: Case) -> Case:
    """The same case with what this host shows."""
    unknown: dict[Step, str] = {}
    case = replace(case, running=_try(unknown, Step.TABLE, lambda: _observe_daemon(case)))
    if case.running is None:
        case = replace(case, silent=lock.holder(case.config.agent.run_dir / lock.NAME))
    case = replace(case, resolver=_observe_resolver(case))
    if case.flow is not None:
        case = _observe_path(case, unknown)
    return replace(case, unknown=unknown)


def _observe_path(case: Case, unknown: dict[Step, str]) -> Case:
    """What stands between a flow and its endpoints."""
    flow, running = case.flow, case.running
    assert flow is not None
    if case.rule is not None:
        case = replace(case, installed=_try(unknown, Step.RULE, lambda: observe_rule(case)))
    backend = case.installed.backend if case.installed is not None else ""
    backend = backend or (running.backend if running is not None else case.config.capture.backend)
    limited = inquiry.confined(case.config, backend, _daemon_cgroup(case.config))
    if limited != case.confined:
        case = inquiry.decide(replace(case, confined=limited), flow)
        case = replace(case, installed=_try(unknown, Step.RULE, lambda: observe_rule(case)))
    verdict = case.decision.verdict if case.decision is not None else Verdict.PASS
    if verdict is not Verdict.PASS:
        case = replace(case, obstacles=_observe_obstacles(flow, backend))
    query = naming.query_flow(case) if case.found is not None else None
    if query is not None and scope.decide(case.plan, query).verdict is Verdict.DNS:
        dns = running.backend if running is not None and running.backend else backend
        case = replace(case, dns_obstacles=_observe_obstacles(query, dns))
    if verdict is Verdict.OUTBOUND:
        case = replace(case, envoy=proxyview.observe(case, unknown))
        case = _observe_bound(case)
    return replace(case, unrouted=_observe_routes(case))


def _try(unknown: dict[Step, str], step: Step, look: Callable[[], T]) -> T | None:
    """What ``look`` finds; where nobody may look, None, and why."""
    try:
        return look()
    except (InterceptorError, OSError, ValueError) as error:
        reason = str(error)
        if isinstance(error, PermissionError) or "Permission denied" in reason:
            reason = "only root may look there"
        unknown[step] = reason
        return None


# --- the daemon


def _observe_daemon(case: Case) -> Running:
    """By its control socket; where that is root's alone, by its public page."""
    config = case.config
    try:
        tree = control.request(config.agent.run_dir, "GET", "/status", ASK_S)
    except InterceptorError as error:
        if "Permission denied" in str(error):
            return _observe_ready(config)
        raise
    running = decode(cast("Mapping[str, object]", tree))
    host = _known_host(case)
    if host is None:
        return running
    page = control.request(config.agent.run_dir, "GET", "/debug/ndsz", ASK_S)
    entries = cast("Mapping[str, Mapping[str, Mapping[str, list[str]]]]", page)["table"]
    entry = entries.get(host.name)
    told = tuple(entry.get("ips", ())) if entry is not None else ()
    return replace(running, knows_host=entry is not None, told=told)


def _known_host(case: Case) -> Host | None:
    """The host that the daemon should know: of those with an address, the one called."""
    host = case.called[0] if case.called is not None else None
    return host if host is not None and host.addresses and not host.is_wildcard else None


def _observe_ready(config: Config) -> Running:
    """The page that anybody may read."""
    host, _, port = config.agent.listen.rpartition(":")
    address = host.removeprefix("[").removesuffix("]")
    connection = http.client.HTTPConnection(address, int(port), timeout=ASK_S)
    try:
        connection.request("GET", "/healthz/ready")
        answer = connection.getresponse()
        why = answer.read().decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        raise control.NotRunning(config.agent.run_dir / control.SOCKET_NAME, str(error)) from error
    finally:
        connection.close()
    return Running(answer.status == http.client.OK, why)


def decode(tree: Mapping[str, object]) -> Running:
    """The daemon's status tree, as far as a diagnosis looks at it."""
    table = cast("Mapping[str, object]", tree.get("table", {}))
    sidecar = cast("Mapping[str, object]", tree.get("sidecar", {}))
    rejected = cast("list[Mapping[str, object]]", table.get("rejected", []))
    uplink = cast("Mapping[str, object]", sidecar.get("control_plane", {}))
    return Running(
        is_ready=bool(tree.get("ready")),
        why=str(tree.get("why", "")),
        backend=str(tree.get("backend", "")),
        hosts=int(str(table.get("hosts", 0))),
        held=bool(table.get("held")),
        good_age_s=float(str(table.get("good_age_s") or 0)),
        recalled=table.get("from") == "disk",
        rejected=tuple(_problem(each) for each in rejected),
        sidecar=str(sidecar.get("state", "")),
        conflicts=tuple(str(each) for each in cast("list[str]", sidecar.get("conflicts", []))),
        refused=tuple(
            map(_refusal, cast("list[Mapping[str, object]]", sidecar.get("refused", [])))
        ),
        uplink="" if uplink.get("is_up") else str(uplink.get("last_error", "")),
        drift=bool(tree.get("drift")),
    )


def _problem(tree: Mapping[str, object]) -> str:
    place = f"{tree.get('where')}:{tree.get('line')}" if tree.get("line") else str(tree["where"])
    return f"{place}: {tree.get('key')}: {tree.get('value')}: {tree.get('legal')}"


def _refusal(tree: Mapping[str, object]) -> str:
    names = ", ".join(cast("list[str]", tree.get("names", []))) or "a response"
    cure = f"; {tree['cure']}" if tree.get("cure") else ""
    return f"Envoy refuses {tree.get('kind')} {names}: {tree.get('reason')}{cure}"


def _daemon_cgroup(config: Config) -> str:
    holder = lock.holder(config.agent.run_dir / lock.NAME)
    return cgroup.of(holder) if holder else ""


# --- the rules


def observe_rule(case: Case) -> Installed | None:
    """What decides on the flow, as it is installed. Raises PermissionError without root."""
    if case.rule is None or case.flow is None:
        return None
    if os.geteuid() != 0:
        raise PermissionError("only root may see rules and maps")
    found = installed.observe(case.plan, case.rule, case.flow, case.config.capture.bpf_dir)
    lines = tuple(Entry(line.text, line.count) for line in found.lines)
    return Installed(found.backend, lines, found.counter)


def _observe_obstacles(flow: Flow, backend: str) -> tuple[Obstacle, ...]:
    if os.geteuid() != 0:
        return ()
    parts = backend.split("+")
    part = parts[0] if flow.protocol == "tcp" else parts[-1]
    return tuple(
        Obstacle(each.where, each.text, each.verdict, each.owner, each.matches)
        for each in ahead.observe(flow, part)
    )


def _observe_bound(case: Case) -> Case:
    """Whether a program that calls this destination now has bound its socket to a device."""
    flow = case.flow
    if case.asked.device or flow is None:
        return case
    for each in sockets.observe(str(flow.destination), flow.port):
        if each.device and each.device != "lo":
            who = f"{each.comm or 'a process'} (pid {each.pid or 'unknown'})"
            return replace(case, asked=replace(case.asked, device=each.device, device_of=who))
    return case


# --- names and routes


def _observe_resolver(case: Case) -> Resolver:
    found = nameservice.observe(case.config.dns.resolv_conf)
    encrypted = tuple(
        each.text() for each in sockets.observe(port=DOT_PORT) if each.comm not in FORWARDERS
    )
    resolved = found.resolved
    mode = ", ".join(resolved.links) if resolved.over_tls == "no" else resolved.over_tls
    mode = mode if resolved.runs else ""
    by_file = hostsfile.observe(case.found.name) if case.found is not None else ()
    return Resolver(found.hosts, found.servers, mode, encrypted, by_file)


def _observe_routes(case: Case) -> frozenset[Address]:
    host = case.called[0] if case.called is not None else None
    addresses = {
        endpoint.address
        for endpoint in (host.endpoints[:ENDPOINTS] if host is not None else ())
        if not isinstance(endpoint.address, str) and not endpoint.gateways
    }
    return frozenset(address for address in addresses if not dial.has_route(address))
