"""A case told link by link, each with a mark: from the table to who serves. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from interceptor.capture.plan import Verdict
from interceptor.debug.case import Case, Connected, Envoy, Probe, Queried, Upstream
from interceptor.debug.explain import Explanation
from interceptor.debug.finding import Finding, Link, Step
from interceptor.debug.serving import carried
from interceptor.mesh.outcome import Verdict as NameVerdict

MARKS = {True: "✓", False: "✗", None: "?"}
WIDTH = 10  # of a link's name
Said = tuple[bool | None, str, tuple[str, ...]]


def build(case: Case, told: Explanation, findings: Iterable[Finding]) -> tuple[Link, ...]:
    """The links in their order; one that breaks says why, and what to run next."""
    by_step: dict[Step, Finding] = {}
    for each in findings:
        by_step.setdefault(each.step, each)
    links = []
    for step, look in _LOOKS.items():
        said = look(case, told)
        finding = by_step.get(step)
        if finding is not None:
            detail = (*finding.evidence, *(said[2] if said is not None else ()))
            cause = finding.cause.value
            links.append(Link(step, False, finding.why, detail, cause, finding.next))
        elif said is not None:
            links.append(Link(step, *said))
    return tuple(links)


def _table(case: Case, _told: Explanation) -> Said:
    words = f"{len(case.table)} hosts from {case.config.mesh.source}"
    running = case.running
    if running is None:
        why = case.unknown.get(Step.TABLE, "")
        return (None, words, (f"the daemon was not asked: {why}",)) if why else (True, words, ())
    state = "ready" if running.is_ready else f"not ready: {running.why}"
    same = "; the daemon answers the same" if running.knows_host else ""
    by = f", {running.backend}" if running.backend else ""
    return running.is_ready, f"{words}{same}; the daemon is {state}{by}", ()


def _name(case: Case, _told: Explanation) -> Said | None:
    found = case.found
    if found is None:
        return None
    words = f"{found.name}: {found.why}"
    if found.verdict is NameVerdict.PASS:
        words += " (its queries go on untouched)"
    is_right = (NameVerdict.ANSWER, NameVerdict.PASS, NameVerdict.FORWARD)
    return found.verdict in is_right, words, ()


def _resolver(case: Case, _told: Explanation) -> Said | None:
    if case.found is None or case.resolver is None:
        return None
    servers = ", ".join(map(str, case.resolver.servers)) or "no server"
    nss = f"; hosts: {' '.join(case.resolver.nss)}" if case.resolver.nss else ""
    query = case.probe.query if case.probe is not None else None
    if query is None:
        return True, f"asked over port 53: {servers}{nss}", ()
    return _is_answered(case, query), f"asked over port 53{nss}", (_queried(query),)


def _is_answered(case: Case, query: Queried) -> bool:
    if case.found is None or case.found.verdict is not NameVerdict.ANSWER:
        return not query.error
    ours = {answer.data for answer in case.found.answers}
    return bool(query.answers) and set(query.answers) <= ours


def _queried(query: Queried) -> str:
    if query.error:
        return f"{query.who} was asked: {query.error}"
    data = ", ".join(query.answers) or "no data"
    return f"{query.who} was asked: {query.rcode}, {data}, {query.took_ms:.1f} ms"


def _address(case: Case, told: Explanation) -> Said | None:
    if case.flow is None:
        return None
    if told.host:
        owner = f"an address of {told.host}"
    else:
        is_own = case.flow.destination in case.facts.own_addresses
        owner = "this VM's own" if is_own else "of nobody in the mesh"
    return True, f"{case.flow.destination} port {case.flow.port}, {owner}", ()


def _scope(case: Case, told: Explanation) -> Said | None:
    if case.decision is None:
        return None
    words = f"{told.verdict} → {told.to} by rule {told.rule}: {told.why}"
    return True, words, case.rule_text[:1]


def _rule(case: Case, _told: Explanation) -> Said | None:
    if case.rule is None:
        return None
    if case.installed is None:
        why = case.unknown.get(Step.RULE, "")
        planned = tuple(f"planned: {line}" for line in case.rule_text[1:])
        return (None, f"not looked at: {why}", planned) if why or planned else None
    found = case.installed
    lines = tuple(f"{_counted(entry.count)}{entry.text}" for entry in found.entries)
    if found.counter:
        lines += (f"counter: {found.counter}",)
    probe = case.probe
    if probe is not None and probe.before is not None and probe.after is not None:
        lines += (f"the probe moved it from {probe.before} to {probe.after}",)
    count = len(found.entries)
    return bool(count), f"installed by {found.backend or 'nobody'}", lines


def _counted(count: int | None) -> str:
    return "" if count is None else f"[{count}] "


def _is_captured(case: Case) -> bool:
    return case.decision is not None and case.decision.verdict is Verdict.OUTBOUND


def _listener(case: Case, _told: Explanation) -> Said | None:
    if not _is_captured(case) or case.envoy is None:
        return None
    envoy = case.envoy
    port = case.config.sidecar.outbound_port
    if not envoy.listens:
        return False, f"nobody listens on port {port}", ()
    if not envoy.answers:
        why = case.unknown.get(Step.CLUSTER, "its admin does not answer")
        return True, f"the sidecar listens on port {port}", (f"not asked more: {why}",)
    name = envoy.listener or "none for this address: it is passed through or refused"
    return True, f"Envoy is {envoy.state}; listener {name}", ()


def _cluster(case: Case, told: Explanation) -> Said | None:
    if not told.cluster:
        return None
    port = case.called[1] if case.called is not None else None
    kind = f", {carried(port)}" if port is not None else ""
    return True, f"{told.cluster}{kind}", ()


def _endpoints(case: Case, told: Explanation) -> Said | None:
    is_known = case.called is not None and case.called[1] is not None
    if not told.cluster or not (is_known or told.backends):
        return None
    seen = _upstreams(case.envoy)
    lines = tuple(_endpoint(backend, seen) for backend in told.backends)
    direct = case.probe.direct if case.probe is not None else ()
    lines += tuple(f"past the sidecar: {_connected(each)}" for each in direct)
    ready = len(told.endpoints)
    return True, f"{ready} of {len(told.backends)} are ready", lines


def _upstreams(envoy: Envoy | None) -> dict[tuple[str, str], Upstream]:
    found = envoy.upstreams if envoy is not None else None
    return {(each.address, str(each.port)): each for each in found or ()}


def _far(backend: dict[str, object]) -> str:
    """How an endpoint of another network is reached; empty for one of ours."""
    gateways = backend["gateways"]
    if not isinstance(gateways, list) or not gateways:
        return ""
    way = f", in network {backend['network']} behind {', '.join(gateways)}"
    if backend["identity"]:
        return f"{way}: called through it by mutual TLS, which this VM needs an identity for"
    return f"{way}: left out, for it speaks no mutual TLS, by which a gateway knows where to go"


def _endpoint(backend: dict[str, object], seen: dict[tuple[str, str], Upstream]) -> str:
    place = f"{backend['address']} port {backend['port']}"
    state = "ready" if backend["ready"] else "not ready"
    words = f"{place}, weight {backend['weight']}, {state}"
    if backend["origin"]:
        words += f", {backend['origin']}"
    words += _far(backend)
    known = seen.get((str(backend["address"]), str(backend["port"])))
    if known is None:
        return words
    health = "healthy" if known.is_healthy else "not healthy"
    failed = f", {known.failed} of {known.used} connections failed" if known.failed else ""
    return f"{words}; Envoy: {health}, weight {known.weight}, {known.connections} open{failed}"


def _probe(case: Case, _told: Explanation) -> Said | None:
    if case.probe is None:
        return None
    tried = case.probe.connection
    if tried is None:
        query = case.probe.query
        is_udp = case.asked.protocol == "udp" and query is not None
        return (not query.error, _queried(query), ()) if is_udp and query is not None else None
    return _is_well(case.probe), _connected(tried), ()


def _is_well(probe: Probe) -> bool:
    tried = probe.connection
    return tried is not None and tried.result == "connected" and "HTTP/1.1 5" not in tried.reply


def _connected(tried: Connected) -> str:
    words = f"{tried.to}: {tried.result}"
    if tried.detail:
        words += f" ({tried.detail})"
    if tried.took_ms:
        words += f" after {tried.took_ms:.1f} ms"
    if tried.peer:
        words += f", peer {tried.peer}"
    if tried.greeting:
        words += f", greets {tried.greeting!r}"
    return f"{words}, replies {tried.reply!r}" if tried.reply else words


_LOOKS = {
    Step.TABLE: _table,
    Step.NAME: _name,
    Step.RESOLVER: _resolver,
    Step.ADDRESS: _address,
    Step.SCOPE: _scope,
    Step.RULE: _rule,
    Step.LISTENER: _listener,
    Step.CLUSTER: _cluster,
    Step.ENDPOINTS: _endpoints,
    Step.PROBE: _probe,
}


def render(case: Case, links: Sequence[Link], findings: Sequence[Finding]) -> Iterator[str]:
    """The chain as lines of text, and beneath it where it breaks."""
    who = f", uid {case.flow.uid}" if case.flow is not None and case.flow.uid is not None else ""
    yield f"{case.asked.text} over {case.asked.protocol}{who}"
    yield ""
    for link in links:
        yield f" {MARKS[link.ok]} {link.step.value.ljust(WIDTH)} {link.said}"
        yield from (f"   {'':{WIDTH}} {line}" for line in link.detail)
    yield ""
    if not findings:
        broken = next((link for link in links if link.ok is False), None)
        if broken is None:
            yield "nothing is wrong here, as far as anybody could look"
        else:
            yield f"{broken.step.value}: {broken.said}"
    for at, finding in enumerate(findings):
        lead = "it breaks at" if at == 0 else "and also at"
        yield f"{lead} {finding.step.value}: {finding.why} [{finding.cause.value}]"
        yield f"  cure: {finding.cure}"
        yield f"  next: {finding.next}"
