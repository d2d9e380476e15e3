"""What would become of one flow, asked of the same table and plan that the daemon uses.

Offline and without root: everything that can be known from the configuration. `examination`
adds what can be seen of the host.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from ipaddress import ip_address

from interceptor import assembly
from interceptor.capture import fact, ground, plan, scope
from interceptor.capture import rule as rules
from interceptor.capture.plan import Decision, Facts, Flow, Hook, Plan
from interceptor.capture.rule import Owner
from interceptor.config import Config
from interceptor.debug import explain as telling
from interceptor.debug import relayed
from interceptor.debug.case import Asked, Case
from interceptor.debug.explain import Explanation
from interceptor.errors import ConfigError, Problem
from interceptor.host import cgroup
from interceptor.mesh.answer import Answers
from interceptor.mesh.model import Address
from interceptor.mesh.outcome import Resolution, Verdict
from interceptor.mesh.table import MeshTable
from interceptor.source import files, hidden, nametable


@dataclass(frozen=True, slots=True)
class Question:
    """One flow as `explain` is asked. ``target`` is HOST:PORT; ``protocol`` tcp, udp, or http,
    which is tcp with a request. ``cgroup`` is the caller's, ``device`` what it binds to."""

    protocol: str
    target: str
    uid: int | None = None
    gid: int | None = None
    interface: str = ""
    source: str = ""
    cgroup: str = ""
    device: str = ""

    @property
    def transport(self) -> str:
        return "tcp" if self.protocol == "http" else self.protocol


def _split_target(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or not 0 < int(port) < 65536 or not host:
        legal = "HOST:PORT, an IPv6 address in brackets"
        raise ConfigError([Problem("HOST:PORT", "target", text, legal)])
    return host.removeprefix("[").removesuffix("]"), int(port)


def _address(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _look_up(known: Answers, name: str, version: int) -> Resolution:
    """The name's addresses, in the wanted family (0: IPv4 first)."""
    kinds = {0: ("A", "AAAA"), 4: ("A",), 6: ("AAAA",)}[version]
    found = [known.resolve(name, kind) for kind in kinds]
    return next((item for item in found if addresses(item)), found[0])


def addresses(found: Resolution) -> tuple[str, ...]:
    """The addresses among the records of an answer."""
    return tuple(answer.data for answer in found.answers if answer.type in ("A", "AAAA"))


def load(config: Config) -> tuple[MeshTable, tuple[Problem, ...]]:
    """The table, beside refused files by what they last said, and what is wrong with them.
    Raises ConfigError where nothing is known at all."""
    try:
        return assembly.load_table(config), ()
    except ConfigError:
        if config.mesh.source == "files":
            table, problems = files.recall(config.mesh, config.node)
        else:
            table, problems = nametable.recall(config.mesh)
        if not table:
            raise
    return table, problems


def begin(config: Config, question: Question) -> Case:
    """The case as far as the configuration alone tells it. Raises ConfigError."""
    table, problems = load(config)
    host, port = _split_target(question.target)
    source = _address(question.source) if question.source else None
    if question.source and source is None:
        raise ConfigError([Problem("--from", "address", question.source, "an IP address")])
    destination = _address(host)
    asked = Asked(
        question.target,
        question.transport,
        port,
        "" if destination else host,
        speaks_http=question.protocol == "http",
        device=question.device,
    )
    case = Case(config, asked, assembly.locale(config), table, problems, facts=fact.facts(config))
    if destination is None:
        known = assembly.answers(config, table)
        found = _look_up(known, host, source.version if source else 0)
        case = replace(case, found=found)
        if not (told := addresses(found)):
            names = hidden.observe(config.mesh, config.node, found.name)
            shut = hidden.observe_sidecar(config.mesh, config.node, found.name)
            by = (shut.sidecar, shut.cure) if shut is not None else None
            return replace(case, hidden=names, hidden_by=by)
        if found.host.startswith("*."):
            names = hidden.observe(config.mesh, config.node, found.name)
            case = replace(case, hidden=names)
        destination = ip_address(told[0])
    return decide(case, flow(question, case.facts, destination, port, source))


def resolve(config: Config, name: str, kind: str) -> Resolution:
    """What is answered to a name, and where nothing is, who hides it. Raises ConfigError."""
    found = assembly.answers(config, assembly.load_table(config)).resolve(name, kind)
    if found.verdict not in (Verdict.PASS, Verdict.FORWARD) or found.host:
        return found
    why = found.why
    if names := hidden.observe(config.mesh, config.node, found.name):
        why += f"; hidden by exportTo: only namespace {', '.join(names)} sees it"
    elif shut := hidden.observe_sidecar(config.mesh, config.node, found.name):
        why += f"; hidden by {shut.sidecar}: {shut.cure}"
    return replace(found, why=why)


def decide(case: Case, asked: Flow) -> Case:
    """The same case with the fate of its flow."""
    config, table = case.config, case.table
    built = plan.build(config, case.facts, assembly.places(table))
    deciding = confine(built, asked, case.confined)
    rule = scope.match(deciding, asked)
    called = telling.find(table.hosts.values(), asked)
    host = table.hosts.get(case.found.host) if case.found is not None else None
    if host is not None and asked.destination in host.addresses:
        # Several may bear the address: this one was called.
        called = host, next((p for p in host.ports if p.number == asked.port), None)
    return replace(
        case,
        plan=built,
        flow=asked,
        decision=_told(scope.decide(deciding, asked), case.confined, rule),
        rule=rule,
        rule_text=_rule_text(config, built, rule, asked),
        called=called,
    )


def confine(built: Plan, asked: Flow, confined: str) -> Plan:
    """The plan as it decides on a process that is known to be outside of the sidecar's cgroup,
    where the programs tell the sidecar by that as well: to them its user is like any other."""
    if not confined or not asked.cgroup or is_below(asked.cgroup, confined):
        return built
    kept = tuple(
        rule
        for rule in built.rules
        if rule.number != 2 or not any(isinstance(c, Owner) for c in rule.conditions)
    )
    return replace(built, rules=kept)


def _told(decision: Decision, confined: str, rule: rules.Rule | None) -> Decision:
    by_owner = rule is not None and any(isinstance(c, Owner) for c in rule.conditions)
    if decision.rule != 2 or not confined or not by_owner:
        return decision
    why = f"{decision.why}, in its cgroup {confined}; that user elsewhere is captured (--cgroup)"
    return replace(decision, why=why)


def is_below(path: str, top: str) -> bool:
    """Whether a cgroup is another one or below it."""
    return f"/{path.strip('/')}/".startswith(f"/{top.strip('/')}/")


def confined(config: Config, backend: str, daemon_cgroup: str = "") -> str:
    """The cgroup by which programs know a managed sidecar besides its user; empty with other
    back ends. ``daemon_cgroup`` is the daemon's own, where one runs."""
    if "ebpf" not in backend or config.sidecar.mode != "managed":
        return ""
    return ground.agent_path(config, daemon_cgroup)


def explain(config: Config, question: Question) -> Explanation:
    """The fate of one flow, by the same table and plan that the daemon would use."""
    case = begin(config, question)
    limited = confined(config, config.capture.backend)
    if limited and case.flow is not None:
        case = decide(replace(case, confined=limited), case.flow)
    return conclude(case)


def conclude(case: Case) -> Explanation:
    """What a case says of its flow, in the words of `explain --json`."""
    if case.flow is None or case.decision is None:
        assert case.found is not None
        return _unresolved(case.found, case.asked.text)
    told = telling.explain(
        case.flow,
        case.decision,
        case.called,
        steering=case.plan.steering,
        name=case.found.name if case.found is not None else "",
        answer=addresses(case.found) if case.found is not None else (),
        rule_text=case.rule_text,
        unknown=case.config.sidecar.unknown_destinations,
    )
    if relayed.is_so(case):
        told = relayed.correct(case, told)
    backend = case.installed.backend if case.installed is not None else ""
    if told.verdict == "dns" and case.flow.protocol == "udp" and backend == "ebpf":
        return replace(told, to="the programs' own table")
    return told


def _rule_text(
    config: Config, built: Plan, rule: rules.Rule | None, asked: Flow
) -> tuple[str, ...]:
    """What the rule says, and how it is installed."""
    if rule is None:
        return ()
    lines = assembly.rule_lines(config, built, rule, asked.destination.version)
    return (rules.describe(rule), *lines)


def _unresolved(found: Resolution, target: str) -> Explanation:
    """A name without an address: no connection can be made, so there is none to judge."""
    why = found.why
    if found.verdict in (Verdict.PASS, Verdict.FORWARD):
        if found.verdict is Verdict.PASS:
            why += ": its queries go on untouched"
        why += "; give the address to see a connection's fate"
    return Explanation("pass", target, 9, why, found.host, name=found.name)


def flow(
    question: Question, facts: Facts, destination: Address, port: int, source: Address | None
) -> Flow:
    """The flow asked about, with what a process of this VM would have where nothing is said."""
    arrives = bool(question.interface) and question.interface != "lo"
    is_own = destination.is_loopback or destination in facts.own_addresses
    if source is None:
        route = facts.route_source4 if destination.version == 4 else facts.route_source6
        source = destination if is_own else route or destination
    is_ours = question.uid is None and question.gid is None
    return Flow(
        hook=Hook.PREROUTING if arrives else Hook.OUTPUT,
        protocol=question.transport,
        source=source,
        destination=destination,
        port=port,
        interface=question.interface or ("lo" if is_own else question.device or "uplink"),
        uid=None if arrives else os.getuid() if question.uid is None else question.uid,
        gid=None if arrives else os.getgid() if question.gid is None else question.gid,
        cgroup=question.cgroup or (cgroup.of() if is_ours and not arrives else ""),
    )
