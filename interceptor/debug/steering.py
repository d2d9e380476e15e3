"""What is wrong between the call and the sidecar: table, address, scope, rules. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from interceptor.capture.plan import Verdict
from interceptor.capture.rule import Cgroup, Destination, DestinationLocal, Interface, Owner, Port
from interceptor.debug.case import Case, Obstacle
from interceptor.debug.finding import Cause, Finding, Step
from interceptor.mesh.model import Host, Kind

STEERED = (Verdict.OUTBOUND, Verdict.INBOUND)


def diagnose(case: Case) -> Iterator[Finding]:
    """Findings from the table to the rule that decides, in the chain's order."""
    yield from _of_table(case)
    yield from _of_address(case)
    yield from _of_scope(case)
    if case.decision is not None and case.decision.verdict is not Verdict.PASS:
        yield from _of_rules(case)


def _of_table(case: Case) -> Iterator[Finding]:
    running = case.running
    refused = tuple(str(problem) for problem in case.problems)
    if running is None:
        if refused:
            yield Finding(
                Cause.REFUSED_TABLE,
                Step.TABLE,
                "documents of the mesh are refused; what they last said is all that is known",
                refused,
                "mend what is named",
                "interceptor mesh check",
            )
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


def _of_rules(case: Case) -> Iterator[Finding]:
    """What is on the host: ours, and what stands in front of it."""
    if case.installed is not None and not case.installed.entries:
        yield Finding(
            Cause.NOT_INSTALLED,
            Step.RULE,
            "the rule that decides on this flow is not installed on this host",
            (
                f"looked for rule {case.decision.rule if case.decision else 0} of "
                f"{case.installed.backend}",
            ),
            "start the daemon, or let it put its rules back",
            "interceptor plan --diff",
        )
        return
    hindering = _hindering(case)
    if hindering:
        yield _firewall(case, hindering)
    elif case.asked.device and _breaks_when_bound(case):
        yield _bound(case)


def _hindering(case: Case) -> tuple[Obstacle, ...]:
    """Rules of others that take the flow: known to, or the only ones that can have."""
    sure = tuple(each for each in case.obstacles if each.matches)
    if sure or not _is_missed(case):
        return sure
    return tuple(each for each in case.obstacles if each.matches is None)


def _is_missed(case: Case) -> bool:
    """Whether the probe failed, and our rule never saw it."""
    probe = case.probe
    if probe is None or probe.before is None or probe.after is None or probe.connection is None:
        return False
    return probe.after == probe.before and probe.connection.result != "connected"


def _firewall(case: Case, hindering: tuple[Obstacle, ...]) -> Finding:
    first = hindering[0]
    owner = first.owner or "somebody else's rule"
    evidence = [f"{each.where}: {each.text}" for each in hindering]
    if _is_missed(case):
        assert case.probe is not None
        result = case.probe.connection.result if case.probe.connection else ""
        evidence.append(f"the probe ended with {result}, and our rule's counter did not move")
    return Finding(
        Cause.FIREWALL,
        Step.RULE,
        f"{owner} takes the flow before our rule sees it ({first.verdict})",
        tuple(evidence),
        "make that rule spare what goes to the mesh, or let it come after ours",
        "nft list ruleset",
    )


def _breaks_when_bound(case: Case) -> bool:
    """NAT never gets there. Programs (ebpf) take the socket off its device; the kernel lets them
    do so only for a process that may (CAP_NET_RAW, net/core/sock.c: sock_bindtoindex)."""
    assert case.decision is not None
    if case.decision.verdict not in STEERED or case.asked.device == "lo":
        return False
    is_root = case.flow is not None and case.flow.uid == 0
    return not (_is_by_programs(case) and is_root)


def _is_by_programs(case: Case) -> bool:
    backend = case.installed.backend if case.installed is not None else ""
    return (backend or case.config.capture.backend) == "ebpf"


def _bound(case: Case) -> Finding:
    device = case.asked.device
    who = case.asked.device_of or "the caller"
    by_programs = _is_by_programs(case)
    how = (
        "only a process with CAP_NET_RAW can be taken off its device"
        if by_programs
        else "netfilter's REDIRECT leads to lo"
    )
    cure = (
        "do not bind to a device what calls the mesh, or give the program CAP_NET_RAW"
        if by_programs
        else "do not bind to a device what calls the mesh (ebpf can, for programs with CAP_NET_RAW)"
    )
    return Finding(
        Cause.BOUND_DEVICE,
        Step.RULE,
        f"{who} binds its socket to {device}: the sidecar is behind lo, and out of its reach",
        (f"SO_BINDTODEVICE {device}; {how}",),
        cure,
        f"interceptor explain tcp {case.asked.text} --bound {device} --probe",
    )
