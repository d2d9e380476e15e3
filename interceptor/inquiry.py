"""What would become of one flow, asked of the same table and plan that the daemon uses.

Offline and without root.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from ipaddress import ip_address

from interceptor import assembly
from interceptor.capture import fact, plan, scope
from interceptor.capture import rule as rules
from interceptor.capture.plan import Facts, Flow, Hook
from interceptor.config import Config
from interceptor.debug import explain as telling
from interceptor.debug.explain import Explanation
from interceptor.errors import ConfigError, Problem
from interceptor.mesh.model import Address
from interceptor.mesh.outcome import Resolution, Verdict
from interceptor.mesh.table import MeshTable


@dataclass(frozen=True, slots=True)
class Question:
    """One flow as `explain` is asked. ``target`` is HOST:PORT."""

    protocol: str
    target: str
    uid: int | None = None
    gid: int | None = None
    interface: str = ""
    source: str = ""


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


def _look_up(config: Config, table: MeshTable, name: str, version: int) -> Resolution:
    """The name's addresses, in the wanted family (0: IPv4 first)."""
    known = assembly.answers(config, table)
    kinds = {0: ("A", "AAAA"), 4: ("A",), 6: ("AAAA",)}[version]
    found = [known.resolve(name, kind) for kind in kinds]
    return next((item for item in found if _addresses(item)), found[0])


def _addresses(found: Resolution) -> list[str]:
    return [answer.data for answer in found.answers if answer.type in ("A", "AAAA")]


def explain(config: Config, question: Question) -> Explanation:
    """The fate of one flow, by the same table and plan that the daemon would use."""
    table = assembly.load_table(config)
    host, port = _split_target(question.target)
    source = _address(question.source) if question.source else None
    if question.source and source is None:
        raise ConfigError([Problem("--from", "address", question.source, "an IP address")])
    destination = _address(host)
    name = ""
    told: tuple[str, ...] = ()
    if destination is None:
        found = _look_up(config, table, host, source.version if source else 0)
        name, told = found.name, tuple(_addresses(found))
        if not told:
            return _unresolved(found, question)
        destination = ip_address(told[0])
    facts = fact.facts(config)
    built = plan.build(config, facts, assembly.places(table))
    flow = _flow(question, facts, destination, port, source)
    rule = scope.match(built, flow)
    return telling.explain(
        flow,
        scope.decide(built, flow),
        telling.find(table.hosts.values(), flow),
        steering=built.steering,
        name=name,
        answer=told,
        rule_text=_rule_text(config, built, rule, flow),
        unknown=config.sidecar.unknown_destinations,
    )


def _rule_text(
    config: Config, built: plan.Plan, rule: rules.Rule | None, flow: Flow
) -> tuple[str, ...]:
    """What the rule says, and how it is installed."""
    if rule is None:
        return ()
    lines = assembly.rule_lines(config, built, rule, flow.destination.version)
    return (rules.describe(rule), *lines)


def _unresolved(found: Resolution, question: Question) -> Explanation:
    """A name without an address: no connection can be made, so there is none to judge."""
    why = found.why
    if found.verdict is Verdict.PASS:
        why += ": its queries go on untouched; give the address to see a connection's fate"
    return Explanation("pass", question.target, 9, why, found.host, name=found.name)


def _flow(
    question: Question, facts: Facts, destination: Address, port: int, source: Address | None
) -> Flow:
    """The flow asked about, with what a process of this VM would have where nothing is said."""
    arrives = bool(question.interface) and question.interface != "lo"
    is_own = destination.is_loopback or destination in facts.own_addresses
    if source is None:
        route = facts.route_source4 if destination.version == 4 else facts.route_source6
        source = destination if is_own else route or destination
    return Flow(
        hook=Hook.PREROUTING if arrives else Hook.OUTPUT,
        protocol=question.protocol,
        source=source,
        destination=destination,
        port=port,
        interface=question.interface or ("lo" if is_own else "uplink"),
        uid=None if arrives else os.getuid() if question.uid is None else question.uid,
        gid=None if arrives else os.getgid() if question.gid is None else question.gid,
    )
