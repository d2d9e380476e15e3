"""What hinders the rule that decides: it is not there, another comes first, or it cannot. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from interceptor.capture.plan import Verdict
from interceptor.debug.case import Case, Obstacle
from interceptor.debug.finding import Cause, Finding, Step

STEERED = (Verdict.OUTBOUND, Verdict.INBOUND)


def diagnose(case: Case) -> Iterator[Finding]:
    """Ours that is missing, else what stands in front of it, else what it cannot steer."""
    if case.decision is None or case.decision.verdict is Verdict.PASS:
        return
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
