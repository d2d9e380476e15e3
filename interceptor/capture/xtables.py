"""The chains of iptables that a plan wants, their rules spelled as iptables-save prints them.

One for each section, and for TPROXY three more (`_divert`, `_keep`, `_reply`),
by which packets find Envoy though nothing in them says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from interceptor.capture.argument import Dialect, lines, quote
from interceptor.capture.plan import Plan
from interceptor.capture.rule import Rule, Verdict
from interceptor.capture.section import KEEP_WHY, REPLY_WHY, Section, rules, sections

PREFIX = "INTERCEPTOR_"
DIVERT = f"{PREFIX}DIVERT"
KEEP = f"{PREFIX}KEEP"
SYN = "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN"

PLACES: Mapping[Section, tuple[str, str, str]] = {
    Section.QUEUE_OUTPUT: ("mangle", "OUTPUT", f"{PREFIX}DNS"),
    Section.QUEUE_PREROUTING: ("mangle", "PREROUTING", f"{PREFIX}DNS_IN"),
    Section.NAT_OUTPUT: ("nat", "OUTPUT", f"{PREFIX}OUTPUT"),
    Section.NAT_PREROUTING: ("nat", "PREROUTING", f"{PREFIX}PREROUTING"),
    Section.TPROXY: ("mangle", "PREROUTING", f"{PREFIX}TPROXY"),
    Section.REPLY: ("mangle", "OUTPUT", f"{PREFIX}REPLY"),
}


@dataclass(frozen=True, slots=True)
class Chain:
    """One chain of ours. ``jumps`` stand first in ``hook``, a built-in chain of its table."""

    table: str
    name: str
    hook: str
    jumps: tuple[str, ...]
    rules: tuple[str, ...]


def render(plan: Plan, version: int, ipset: bool = True) -> tuple[Chain, ...]:
    """The chains of one family. Without ``ipset`` each element of a set is a rule."""
    if version not in plan.families:
        return ()
    wanted = sections(plan)
    found = [
        _reply(plan) if section is Section.REPLY else _chain(section, plan, version, ipset)
        for section in wanted
    ]
    if Section.TPROXY in wanted:
        found += [_divert(plan), _keep(plan)]
    return tuple(found)


def in_order(chains: Iterable[Chain]) -> list[Chain]:
    """As `render` gives them; the jumps to the last stand first."""
    order = [name for _, _, name in PLACES.values()] + [DIVERT, KEEP]
    return sorted(chains, key=lambda chain: order.index(chain.name))


def _chain(section: Section, plan: Plan, version: int, ipset: bool) -> Chain:
    table, hook, name = PLACES[section]
    dialect = Dialect(
        version=version,
        outgoing=hook == "OUTPUT",
        protocols=("udp", "tcp") if section.is_queue else ("tcp",),
        cgroups=frozenset(path.strip("/") for path, _ in plan.cgroups),
        elements=None if ipset else lambda which: plan.networks(which, version),
    )
    found: list[str] = []
    for rule in rules(section, plan):
        found += _lines(section, rule, plan, dialect)
    return Chain(table, name, hook, _jumps(section, name), tuple(found))


def _jumps(section: Section, name: str) -> tuple[str, ...]:
    def jump(match: str, why: str) -> str:
        return f"{match} -m comment --comment {quote(f'interceptor: {why}')} -j {name}"

    if section.is_queue:
        syn = SYN.replace("-m tcp", "-m tcp --dport 53")
        return (
            jump("-p udp -m udp --dport 53", "is this query ours to answer?"),
            jump(syn, "is this TCP query ours to answer?"),
        )
    return (jump(SYN, "is this new connection captured?"),)


def _lines(section: Section, rule: Rule, plan: Plan, dialect: Dialect) -> Iterable[str]:
    steering = plan.steering
    if rule.verdict is Verdict.PASS:
        return lines(rule, dialect, "-j RETURN", False)
    if rule.verdict is Verdict.DNS and section.is_queue:
        return lines(rule, dialect, f"-j NFQUEUE --queue-num {steering.queue} --queue-bypass", True)
    if rule.verdict is Verdict.DNS:
        # Without a worker nobody sets the mark, and the connection goes where it wanted to.
        seen = f"-m mark --mark {steering.dns_mark:#x} -j REDIRECT --to-ports {steering.dns_port}"
        redirect = () if section is Section.TPROXY else lines(rule, dialect, seen, True)
        return (*redirect, *lines(rule, dialect, "-j RETURN", False))
    if rule.verdict is Verdict.OUTBOUND:
        return lines(rule, dialect, f"-j REDIRECT --to-ports {steering.outbound_port}", True)
    if section is Section.TPROXY:
        address = "127.0.0.1" if dialect.version == 4 else "::1"
        mark = f"{steering.tproxy_mark:#x}/0xffffffff"
        target = f"-j TPROXY --on-port {steering.inbound_port} --on-ip {address}"
        return lines(rule, dialect, f"{target} --tproxy-mark {mark}", True)
    return lines(rule, dialect, f"-j REDIRECT --to-ports {steering.inbound_port}", True)


def _divert(plan: Plan) -> Chain:
    """Packets of connections that Envoy has accepted already are routed to it."""
    remark = quote("interceptor: packets of what Envoy has accepted")
    jump = f"-p tcp -m socket --transparent -m comment --comment {remark} -j {DIVERT}"
    return Chain("mangle", DIVERT, "PREROUTING", (jump,), (_set_mark(plan), "-j ACCEPT"))


def _keep(plan: Plan) -> Chain:
    """What Envoy sends to the application in the client's name marks its new connection.

    Only a new one: Envoy may come by a port from which the client has called
    already, and that connection is not to be led astray.
    """
    value, remark = plan.steering.tproxy_mark, quote(f"interceptor: {KEEP_WHY}")
    new = f"-i lo -p tcp -m mark --mark {value:#x} -m conntrack --ctstate NEW"
    jump = f"{new} -m comment --comment {remark} -j {KEEP}"
    rule = f"-j CONNMARK --set-xmark {value:#x}/0xffffffff"
    return Chain("mangle", KEEP, "PREROUTING", (jump,), (rule,))


def _reply(plan: Plan) -> Chain:
    """What the application answers gets the mark of its connection, and so is routed to lo."""
    table, hook, name = PLACES[Section.REPLY]
    value, remark = plan.steering.tproxy_mark, quote(f"interceptor: {REPLY_WHY}")
    jump = f"-p tcp -m connmark --mark {value:#x} -m comment --comment {remark} -j {name}"
    return Chain(table, name, hook, (jump,), (_set_mark(plan),))


def _set_mark(plan: Plan) -> str:
    return f"-j MARK --set-xmark {plan.steering.tproxy_mark:#x}/0xffffffff"
