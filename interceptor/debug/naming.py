"""What is wrong with a name: nobody's, another one's, or found past us. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from interceptor.capture import scope
from interceptor.capture.plan import Flow, Hook
from interceptor.capture.plan import Verdict as Fate
from interceptor.debug import likeness
from interceptor.debug.case import Case, Resolver
from interceptor.debug.finding import Cause, Finding, Step
from interceptor.mesh.model import Host
from interceptor.mesh.name import parents
from interceptor.mesh.outcome import Verdict

NSS_RESOLVE = "resolve"
EXCLUDED = (1, 2, 4)
"""Rules by which an interface or owner is left out, its DNS included."""
OTHERS = (Verdict.PASS, Verdict.NXDOMAIN, Verdict.FORWARD)
DOT_PORT = 853  # RFC 7858


def diagnose(case: Case) -> Iterator[Finding]:
    """Findings about the name that was asked, and how it is asked."""
    if case.found is not None and case.found.verdict in OTHERS:
        yield from _of_nobody(case)
    elif case.found is not None and case.found.host.startswith("*."):
        yield from _of_wildcard(case, case.found.host)
    if case.found is not None and case.found.verdict is Verdict.ANSWER:
        yield from _by_file(case)
        yield from _past_us(case)
        yield from _unanswered(case)


def _of_nobody(case: Case) -> Iterator[Finding]:
    assert case.found is not None
    if case.found.host or _is_known_outside(case):
        return  # a host without an address, or simply somebody else's name
    name = case.found.name
    if case.hidden:
        yield _hidden(case, name)
        return
    if case.hidden_by is not None:
        yield _left_out(name, *case.hidden_by)
        return
    others = likeness.elsewhere(name, case.table.hosts.values(), case.locale)
    near = likeness.near(name, case.table.hosts.values(), case.locale)
    if others and not near:
        yield _elsewhere(case, name, others)
    elif near:
        yield Finding(
            Cause.NAME_TYPO,
            Step.NAME,
            f"no host of the mesh is called {name}; {near[0]} is, and differs by a slip",
            tuple(f"nearly the same: {host}" for host in near),
            f"call {near[0]}",
            f"interceptor resolve {near[0]}",
        )


def _is_known_outside(case: Case) -> bool:
    query = case.probe.query if case.probe is not None else None
    return query is not None and bool(query.answers)


def _elsewhere(case: Case, name: str, others: tuple[Host, ...]) -> Finding:
    place = likeness.split(likeness.strip(name, case.locale), case.locale)
    asked = (place.namespace if place else "") or case.locale.namespace
    short = others[0].name.removesuffix(f".svc.{case.locale.domain}")
    why = f"namespace {asked} has no {short.partition('.')[0]}; namespace {others[0].namespace} has"
    return Finding(
        Cause.WRONG_NAMESPACE,
        Step.NAME,
        why,
        (
            f"this VM's namespace (node.namespace) is {case.locale.namespace}",
            *(f"{host.name}: {host.origin or host.kind.value}" for host in others),
        ),
        f"call {short}, or set node.namespace where this VM belongs to {others[0].namespace}",
        f"interceptor resolve {short}",
    )


def _hidden(case: Case, name: str) -> Finding:
    where = ", ".join(case.hidden)
    return Finding(
        Cause.NOT_EXPORTED,
        Step.NAME,
        f"{name} is only for namespace {where}, and this VM's is {case.locale.namespace}",
        ("exportTo of its document leaves this VM's namespace out",),
        f"add {case.locale.namespace} or * to its exportTo, or set node.namespace",
        "interceptor mesh check",
    )


def _left_out(name: str, sidecar: str, cure: str) -> Finding:
    return Finding(
        Cause.NOT_EXPORTED,
        Step.NAME,
        f"{name} is hidden from this VM by {sidecar}",
        ("its egress hosts leave the name out",),
        cure,
        "interceptor mesh check",
    )


def _of_wildcard(case: Case, wildcard: str) -> Iterator[Finding]:
    """A wildcard that answers for somebody else: one that exists outside, or nearly one here."""
    assert case.found is not None
    name = case.found.name
    query = case.probe.query if case.probe is not None else None
    evidence: list[str] = []
    if query is not None and query.outside:
        evidence.append(f"{query.who} itself answers {', '.join(query.outside)}")
    if case.hidden:
        evidence.append(f"namespace {', '.join(case.hidden)} has a host of exactly this name")
    if (wider := _wider(case, name, wildcard)) and _port_missing(case):
        evidence.append(f"{wider} serves port {case.asked.port}, {wildcard} does not")
    near = likeness.near(name, _exact(case, wildcard), case.locale)
    evidence += [f"nearly the same: {host}" for host in near]
    if not evidence:
        return
    yield Finding(
        Cause.WILDCARD_SHADOWING,
        Step.NAME,
        f"no host is called {name}: the wildcard {wildcard} answers, in front of another",
        tuple(evidence),
        f"give {name} a ServiceEntry of its own, or narrow {wildcard}",
        f"interceptor mesh show '{wildcard}'",
    )


def _port_missing(case: Case) -> bool:
    return case.called is not None and case.called[1] is None


def _wider(case: Case, name: str, wildcard: str) -> str:
    """Another wildcard that fits the name and serves the port."""
    for parent in parents(name):
        host = case.table.hosts.get(f"*.{parent}")
        ports = host.ports if host is not None and host.name != wildcard else ()
        if host is not None and any(port.number == case.asked.port for port in ports):
            return host.name
    return ""


def _exact(case: Case, wildcard: str) -> Iterator[Host]:
    suffix = wildcard[1:]
    for host in case.table.hosts.values():
        if not host.is_wildcard and host.name.endswith(suffix):
            yield host


def _by_file(case: Case) -> Iterator[Finding]:
    """A line in /etc/hosts that leads elsewhere than the mesh."""
    assert case.found is not None
    ours = {answer.data for answer in case.found.answers}
    given = case.resolver.file if case.resolver is not None else ()
    if others := tuple(address for address in given if address not in ours):
        yield Finding(
            Cause.HOSTS_FILE,
            Step.RESOLVER,
            f"/etc/hosts gives {case.found.name} another address, and no server is asked",
            tuple(f"/etc/hosts: {address} {case.found.name}" for address in others),
            "take the line out of /etc/hosts",
            f"getent ahosts {case.found.name}",
        )


def query_flow(case: Case) -> Flow | None:
    """The caller's query for the name, to the first server that is asked."""
    servers = case.resolver.servers if case.resolver is not None else ()
    server = next((one for one in servers if one.version in case.plan.families), None)
    if case.flow is None or server is None or case.flow.hook is not Hook.OUTPUT:
        return None
    return replace(case.flow, protocol="udp", source=server, destination=server, port=53)


def _unanswered(case: Case) -> Iterator[Finding]:
    """A mesh name whose query does not reach us, though nobody excluded who asks."""
    query = query_flow(case)
    if query is None:
        return
    fate = scope.decide(case.plan, query)
    if fate.verdict is Fate.DNS:
        yield from _intercepted(case)
    elif fate.rule not in EXCLUDED:
        yield Finding(
            Cause.DNS_NOT_CAPTURED,
            Step.RESOLVER,
            "queries to this host's servers are left alone, so nobody answers mesh names",
            (f"{query.destination} port 53: rule {fate.rule}, {fate.why}",),
            "set dns.enabled, and dns.servers to all, resolv.conf or a list with these servers",
            "interceptor config show",
        )


def _intercepted(case: Case) -> Iterator[Finding]:
    """A query that somebody takes before us, by what is known of him or by the probe's word."""
    assert case.found is not None
    query = case.probe.query if case.probe is not None else None
    ours = {answer.data for answer in case.found.answers}
    is_lost = query is not None and not ours & set(query.answers)
    sure = tuple(each for each in case.dns_obstacles if each.matches)
    hindering = sure or (case.dns_obstacles if is_lost else ())
    if hindering:
        yield Finding(
            Cause.FIREWALL,
            Step.RESOLVER,
            f"{hindering[0].owner or 'somebody else'} takes the query before we see it "
            f"({hindering[0].verdict})",
            tuple(f"{each.where}: {each.text}" for each in hindering),
            "make that rule spare port 53, or let it come after ours",
            "nft list ruleset",
        )
    elif is_lost and query is not None:
        yield Finding(
            Cause.NOT_ANSWERED,
            Step.RESOLVER,
            f"{case.found.name} is the mesh's, and its query was not answered by us",
            (f"{query.who} was asked: {query.error or query.rcode}",),
            "see whether the daemon and its DNS worker are alive",
            "interceptor status",
        )


def _past_us(case: Case) -> Iterator[Finding]:
    """A mesh name that programs look up on another way than port 53."""
    if case.resolver is None:
        return
    evidence = tuple(encrypted(case.resolver))
    if not evidence:
        return
    yield Finding(
        Cause.ENCRYPTED_DNS,
        Step.RESOLVER,
        "names are asked over TLS on this host: such a query passes no port 53, "
        "and the server does not know the mesh",
        evidence,
        "let programs ask over port 53: DNSOverTLS=no in resolved.conf (or no `resolve` in "
        "nsswitch.conf), and no DNS over TLS of their own",
        "getent ahosts " + (case.found.name if case.found else case.asked.name),
    )


def encrypted(resolver: Resolver) -> Iterator[str]:
    """What tells that names are asked over TLS here, a line each. Also for the whole host."""
    uses_resolved = NSS_RESOLVE in resolver.nss
    if uses_resolved and resolver.dot_mode not in ("", "no"):
        yield f"nsswitch.conf asks systemd-resolved, which has DNSOverTLS={resolver.dot_mode}"
    for line in resolver.encrypted:
        yield f"open connection to port {DOT_PORT}: {line}"
