"""What is wrong before any packet is sent: table, address, scope. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from interceptor.capture.plan import Verdict
from interceptor.capture.rule import Cgroup, Destination, DestinationLocal, Interface, Owner, Port
from interceptor.debug import relayed
from interceptor.debug.case import Case
from interceptor.debug.finding import Cause, Finding, Step
from interceptor.mesh.model import Host, Kind


def diagnose(case: Case) -> Iterator[Finding]:
    """Findings from the table to the scope's decision, in the chain's order."""
    yield from _of_table(case)
    yield from _of_address(case)
    yield from _of_scope(case)


def _of_table(case: Case) -> Iterator[Finding]:
    running = case.running
    refused = tuple(str(problem) for problem in case.problems)
    if case.silent:
        yield Finding(
            Cause.DAEMON_SILENT,
            Step.TABLE,
            f"the daemon (pid {case.silent}) runs, and does not answer",
            (case.unknown.get(Step.TABLE, ""),),
            "its supervisor ends and restarts one that hangs; see its log",
            "journalctl -u interceptor -n 50",
        )
    elif running is None and refused:
        yield Finding(
            Cause.REFUSED_TABLE,
            Step.TABLE,
            "documents of the mesh are refused; what they last said is all that is known",
            refused,
            "mend what is named",
            "interceptor mesh check",
        )
    if running is None:
        return
    evidence = [*(running.rejected or refused)]
    if running.held:
        evidence.append(f"what holds was last right {running.good_age_s:.0f} s ago")
    if running.recalled:
        evidence.append("the table comes from disk: its source could not be read at the start")
    if _differs(case):
        evidence.append(_difference(case))
    if evidence:
        yield Finding(
            Cause.STALE_TABLE,
            Step.TABLE,
            "the daemon answers by an older table than the mesh's documents",
            tuple(evidence),
            "mend the documents that are refused; the table follows by itself",
            "interceptor mesh check",
        )


def _differs(case: Case) -> bool:
    running, host = case.running, _host(case)
    if running is None or running.knows_host is None or host is None or not host.is_answered:
        return False
    ours = sorted(str(address) for address in host.addresses)
    return not running.knows_host or (bool(ours) and ours != sorted(running.told))


def _difference(case: Case) -> str:
    running, host = case.running, _host(case)
    assert running is not None
    assert host is not None
    if not running.knows_host:
        return f"the documents have {host.name}, the daemon does not"
    return f"the daemon has {host.name} at {', '.join(running.told) or 'no address'}"


def _host(case: Case) -> Host | None:
    if case.called is not None:
        return case.called[0]
    return case.table.hosts.get(case.found.host) if case.found is not None else None


def _of_address(case: Case) -> Iterator[Finding]:
    """An address that is somebody else's as well."""
    if case.flow is None or case.called is None:
        return
    if case.flow.destination.version == 6 and not case.facts.has_ipv6:
        yield Finding(
            Cause.IPV6_ONLY,
            Step.ADDRESS,
            f"{case.called[0].name} has IPv6 addresses only, and this VM has no IPv6",
            (f"called at {case.flow.destination}",),
            "give the host an IPv4 address, or the VM IPv6",
            "ip -6 address show",
        )
        return
    rivals = sorted(_rivals(case))
    address, port = case.flow.destination, case.flow.port
    place = f"{address} port {port}"
    named = case.called[0].name
    if rivals:
        winner = min(named, *rivals)
        yield Finding(
            Cause.VIP_CLASH,
            Step.ADDRESS,
            f"{place} belongs to {named} and to {', '.join(rivals)}: "
            f"nothing in a connection tells them apart, and {winner} has it",
            tuple(f"{host} bears {address}" for host in (named, *rivals)),
            "give one of them another address, or make both ports HTTP",
            f"interceptor mesh show {rivals[0]}",
        )
    elif address in case.facts.own_addresses and case.called[0].kind not in _OF_ENDPOINTS:
        yield Finding(
            Cause.VIP_CLASH,
            Step.ADDRESS,
            f"{address} is the address of {named}, and one of this VM's own",
            (f"an interface of this VM bears {address}",),
            "give the service another address, or mesh.vip_ranges another range",
            "ip address show",
        )


_OF_ENDPOINTS = (Kind.HEADLESS, Kind.POD)
"""Their addresses are their endpoints', and may be shared by right."""


def _rivals(case: Case) -> Iterator[str]:
    """Other hosts at the very address and port, where not all of them are HTTP."""
    assert case.flow is not None
    assert case.called is not None
    named = case.called[0].name
    sharing = [
        (host, port)
        for host in case.table.hosts.values()
        if case.flow.destination in host.addresses and host.kind not in _OF_ENDPOINTS
        for port in host.ports
        if port.number == case.flow.port
    ]
    if len(sharing) > 1 and not all(port.protocol.is_http for _, port in sharing):
        yield from (host.name for host, _ in sharing if host.name != named)


def _of_scope(case: Case) -> Iterator[Finding]:
    """A mesh host whose flow passes is left out by somebody's wish."""
    if case.decision is None or case.called is None or case.asked.protocol != "tcp":
        return
    if case.decision.verdict is Verdict.PASS and case.rule is not None:
        cause = _exclusion(case)
        if cause is not None:
            number, why = case.decision.rule, case.decision.why
            yield Finding(
                cause,
                Step.SCOPE,
                f"the flow is left alone by rule {number}: {why}{_which(case, cause)}",
                case.rule_text[:1],
                _CURES[cause],
                "interceptor config show",
            )
    elif relayed.is_so(case):
        return  # a name table has no ports: Envoy is asked instead
    elif case.decision.verdict is Verdict.OUTBOUND and case.called[1] is None:
        yield _not_served(case, case.called[0])


def _exclusion(case: Case) -> Cause | None:
    assert case.rule is not None
    kinds = {type(condition) for condition in case.rule.conditions}
    if case.rule.number == 1 or (case.rule.number == 6 and Interface in kinds):
        return Cause.EXCLUDED_INTERFACE
    if case.rule.number == 4 and kinds & {Owner, Cgroup}:
        return Cause.EXCLUDED_OWNER
    if case.rule.number == 6 and Port in kinds:
        return Cause.EXCLUDED_PORT
    if case.rule.number == 6 and Destination in kinds:
        return Cause.EXCLUDED_ADDRESS
    if case.rule.number == 6 and DestinationLocal in kinds:
        return None  # told as an address that is this VM's own
    return None


def _which(case: Case, cause: Cause) -> str:
    flow = case.flow
    if flow is None:
        return ""
    if cause is Cause.EXCLUDED_PORT:
        return f" ({flow.port})"
    if cause is Cause.EXCLUDED_OWNER:
        return f" (uid {flow.uid}, gid {flow.gid}{', ' + flow.cgroup if flow.cgroup else ''})"
    return ""


_CURES = {
    Cause.EXCLUDED_INTERFACE: "take the interface out of capture.interfaces.exclude",
    Cause.EXCLUDED_PORT: "take the port out of capture.outbound.exclude_ports",
    Cause.EXCLUDED_OWNER: "change capture.owners, or run the program as another user",
    Cause.EXCLUDED_ADDRESS: "take the network out of capture.outbound.exclude_cidrs",
}


def _not_served(case: Case, host: Host) -> Finding:
    ports = ", ".join(f"{port.number} ({port.name})" for port in host.ports) or "none"
    return Finding(
        Cause.PORT_NOT_SERVED,
        Step.SCOPE,
        f"{host.name} has no port {case.asked.port}; it has {ports}",
        (f"document: {host.origin}",) if host.origin else (),
        "call a port that it has, or add this one to its document",
        f"interceptor mesh show {host.name}",
    )
