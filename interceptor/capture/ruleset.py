"""The nftables back end's table as values of nft's JSON (libnftables-json(5)).

One table `inet interceptor` for both families. Sets are declared without
auto-merge: their elements never overlap (``span.uncovered``), and nft would
answer a deletion out of a merged element by reading the whole set.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product

from interceptor.capture import nftmatch
from interceptor.capture.nftmatch import Json
from interceptor.capture.plan import Plan
from interceptor.capture.rule import (
    Cgroup,
    Condition,
    Destination,
    DestinationSet,
    Hook,
    Network,
    Owner,
    Rule,
    SetName,
    Source,
    Verdict,
    narrowed,
)
from interceptor.capture.section import KEEP_WHY, REPLY_WHY, Section, rules, sections

TABLE: Mapping[str, str] = {"family": "inet", "table": "interceptor"}
OWNERS = "included_owners"

BASES: Mapping[Section, Json] = {
    # Before everything that translates, after conntrack (-200): where iptables has mangle.
    Section.QUEUE_OUTPUT: {"type": "filter", "hook": "output", "prio": -150},
    Section.QUEUE_PREROUTING: {"type": "filter", "hook": "prerouting", "prio": -150},
    # One before dstnat, so that the order does not hang on who came first (Docker is at -100).
    Section.NAT_OUTPUT: {"type": "nat", "hook": "output", "prio": -101},
    Section.NAT_PREROUTING: {"type": "nat", "hook": "prerouting", "prio": -101},
    Section.TPROXY: {"type": "filter", "hook": "prerouting", "prio": -150},
    # Of this type alone: a packet whose mark it sets is routed again.
    Section.REPLY: {"type": "route", "hook": "output", "prio": -150},
}


def render(plan: Plan, queue: bool = True) -> tuple[Json, ...]:
    """The commands of one transaction: whatever stood there is replaced.

    Without ``queue`` the rules that need nft_queue are left to another back end.
    """
    table: Json = {"table": {"family": TABLE["family"], "name": TABLE["table"]}}
    commands: list[Json] = [{"add": table}, {"delete": table}, {"add": table}]
    wanted = _wanted(plan, queue)
    commands += [_add("set", body) for body in _sets(plan, wanted)]
    return (*commands, *_chains(plan, wanted))


def renew(plan: Plan, queue: bool, chains: Iterable[str], sets: Iterable[str]) -> tuple[Json, ...]:
    """The commands of one transaction for a host that has these chains and sets already.

    The base chains stay and only their rules are exchanged. Of a table that is
    deleted and added the kernel runs both chains for a moment, each by its own
    reading of the generation, and a packet between may find both empty.
    """
    table: Json = {"table": {"family": TABLE["family"], "name": TABLE["table"]}}
    commands: list[Json] = [{"add": table}, {"flush": table}]
    wanted, present = _wanted(plan, queue), set(sets)
    bodies = list(_sets(plan, wanted))
    for body in bodies:
        if body["name"] not in present:
            commands.append(_add("set", body))
        else:
            commands += refill(str(body["name"]), body.get("elem", ()))
    fresh = _chains(plan, wanted)
    kept = {str(body["name"]) for command in fresh for body in _bodies(command, "chain")}
    stale = [("chain", name) for name in sorted(set(chains) - kept)]
    stale += [("set", name) for name in sorted(present - {str(body["name"]) for body in bodies})]
    deletions: list[Json] = [{"delete": {kind: {**TABLE, "name": name}}} for kind, name in stale]
    return (*commands, *fresh, *deletions)


def _bodies(command: Json, kind: str) -> Iterator[Json]:
    for subject in command.values():
        if isinstance(subject, Mapping) and isinstance(body := subject.get(kind), Mapping):
            yield body


def refill(name: str, elements: object) -> tuple[Json, ...]:
    """The commands that exchange a set's elements for others."""
    flush: Json = {"flush": {"set": {**TABLE, "name": name}}}
    if not elements:
        return (flush,)
    return (flush, {"add": {"element": {**TABLE, "name": name, "elem": elements}}})


def _wanted(plan: Plan, queue: bool) -> list[Section]:
    return [section for section in sections(plan) if queue or not section.is_queue]


def _chains(plan: Plan, wanted: Sequence[Section]) -> tuple[Json, ...]:
    """Every chain with its rules."""
    commands: list[Json] = []
    if any(_outside(rule) for section in wanted for rule in rules(section, plan)):
        commands.append(_add("chain", {**TABLE, "name": OWNERS}))
        commands += _owner_rules(plan)
    for section in wanted:
        base = {**TABLE, "name": section.value, **BASES[section], "policy": "accept"}
        commands.append(_add("chain", base))
        commands += [_rule(section.value, expr, why) for expr, why in _entry(section, plan)]
        for rule in rules(section, plan):
            commands += _rules(section, rule, plan)
    return tuple(commands)


def _add(kind: str, body: Json) -> Json:
    return {"add": {kind: body}}


def _rule(chain: str, expr: Sequence[Json], comment: str) -> Json:
    body: dict[str, object] = {**TABLE, "chain": chain, "expr": list(expr)}
    if comment:
        body["comment"] = comment
    return _add("rule", body)


def set_names(plan: Plan, wanted: Iterable[Section]) -> tuple[SetName, ...]:
    """The sets that the rules of some chains look into."""
    conditions = {
        condition.name
        for section in wanted
        for rule in plan.shape
        if rule.hook is section.hook and not (section.is_queue and rule.number > 5)
        for condition in rule.conditions
        if isinstance(condition, DestinationSet)
    }
    return tuple(name for name in SetName if name in conditions)


def _sets(plan: Plan, wanted: Iterable[Section]) -> Iterator[Json]:
    for name in set_names(plan, wanted):
        for version in plan.families:
            elements = [element(network) for network in plan.networks(name, version)]
            body: dict[str, object] = {**TABLE, "name": f"{name.value}{version}"}
            body |= {"type": f"ipv{version}_addr", "flags": ["interval"]}
            yield body | ({"elem": elements} if elements else {})


def element(network: Network) -> object:
    """One element of an interval set, as nft itself prints it."""
    if network.prefixlen == network.max_prefixlen:
        return str(network.network_address)
    return {"prefix": {"addr": str(network.network_address), "len": network.prefixlen}}


def exchange(name: str, gone: Iterable[Network], fresh: Iterable[Network]) -> tuple[Json, ...]:
    """The commands that take elements out of a set and put others in, in one transaction."""
    commands: list[Json] = []
    for verb, networks in (("delete", gone), ("add", fresh)):
        elements = [element(network) for network in networks]
        if elements:
            commands.append({verb: {"element": {**TABLE, "name": name, "elem": elements}}})
    return tuple(commands)


def _entry(section: Section, plan: Plan) -> Iterator[tuple[Sequence[Json], str]]:
    """What a chain does not look at leaves it at once: almost every packet.

    Statements, and for those that do more a sentence why.
    """
    if plan.families == (4,):
        yield [nftmatch.equal({"meta": {"key": "nfproto"}}, "ipv6"), nftmatch.ACCEPT], ""
    protocols: object = {"set": ["tcp", "udp"]} if section.is_queue else "tcp"
    yield [nftmatch.differ({"meta": {"key": "l4proto"}}, protocols), nftmatch.ACCEPT], ""
    if section.is_queue:
        yield [nftmatch.differ(nftmatch.payload("th", "dport"), 53), nftmatch.ACCEPT], ""
    value = plan.steering.tproxy_mark
    if section is Section.REPLY:
        ours = nftmatch.equal(nftmatch.CONNECTION_MARK, value)
        yield [ours, nftmatch.mark(value), nftmatch.ACCEPT], REPLY_WHY
        return
    if section is Section.TPROXY:
        lo = nftmatch.equal({"meta": {"key": "iifname"}}, "lo")
        ours = nftmatch.equal({"meta": {"key": "mark"}}, value)
        # A new one: the client may have called from the port that Envoy now comes by.
        yield [lo, ours, nftmatch.NEW, nftmatch.keep(value)], KEEP_WHY
        transparent = nftmatch.equal({"socket": {"key": "transparent"}}, 1)
        listening = nftmatch.equal({"socket": {"key": "wildcard"}}, 0)
        yield [transparent, listening, nftmatch.mark(value), nftmatch.ACCEPT], ""
    yield [nftmatch.differ(nftmatch.FLAGS, "syn"), nftmatch.ACCEPT], ""


def _outside(rule: Rule) -> bool:
    """Whether this is the rule of those who are not among the included owners."""
    negated = (c for c in rule.conditions if isinstance(c, Owner | Cgroup) and c.negate)
    return any(True for _ in negated)


def _owner_rules(plan: Plan) -> Iterator[Json]:
    """ "None of these owners", for packets without any owner too: nft's `!=` never holds there."""
    rule = next(rule for rule in plan.rules if _outside(rule))
    where = _where(Hook.OUTPUT, 0, plan)
    for condition in rule.conditions:
        for match in nftmatch.alternatives(condition, where):
            yield _rule(OWNERS, [match, {"return": None}], "")
    yield _rule(OWNERS, [nftmatch.COUNTER, nftmatch.ACCEPT], comment(rule))


def _where(hook: Hook, version: int, plan: Plan) -> nftmatch.Where:
    cgroups = frozenset(path.strip("/") for path, _ in plan.cgroups)
    return nftmatch.Where(version, hook is Hook.OUTPUT, cgroups, plan.cgroup_mount)


def comment(rule: Rule) -> str:
    """At most 127 bytes (NFTNL_UDATA_COMMENT_MAXLEN in libnftnl)."""
    return f"{rule.number}: {rule.why}"


def _rules(section: Section, rule: Rule, plan: Plan) -> Iterator[Json]:
    """One scope rule in one chain; one for each family where it tells them apart."""
    if _outside(rule):
        yield _rule(section.value, [{"jump": {"target": OWNERS}}], "")
        return
    split = any(isinstance(condition, FAMILIAR) for condition in rule.conditions)
    tproxy = section is Section.TPROXY and rule.verdict is Verdict.INBOUND
    for version in plan.families if split or tproxy else (0,):
        conditions = narrowed(rule.conditions, version) if version else rule.conditions
        if conditions is None:
            continue
        where = _where(section.hook, version, plan)
        for matches in product(*(nftmatch.alternatives(c, where) for c in conditions)):
            lead = _lead(section, rule, version, conditions)
            for effect in _effects(section, rule, plan, version):
                yield _rule(section.value, [*lead, *matches, *effect], comment(rule))


FAMILIAR = Source | Destination | DestinationSet
"""Conditions that imply an address family."""


def _lead(
    section: Section, rule: Rule, version: int, conditions: tuple[Condition, ...]
) -> Iterator[Json]:
    """Family and protocol, where nothing else in the rule implies them."""
    if version and not any(isinstance(condition, FAMILIAR) for condition in conditions):
        yield nftmatch.equal({"meta": {"key": "nfproto"}}, f"ipv{version}")
    if rule.protocol and section.is_queue:
        yield nftmatch.equal({"meta": {"key": "l4proto"}}, rule.protocol)


def _effects(section: Section, rule: Rule, plan: Plan, version: int) -> Iterator[Sequence[Json]]:
    """What is done, as one or two rules' last statements."""
    steering = plan.steering
    leave: Sequence[Json] = [nftmatch.COUNTER, nftmatch.ACCEPT]
    if rule.verdict is Verdict.PASS:
        yield leave
    elif rule.verdict is Verdict.DNS and section.is_queue:
        yield [nftmatch.COUNTER, {"queue": {"num": steering.queue, "flags": ["bypass"]}}]
    elif rule.verdict is Verdict.DNS:
        if section is not Section.TPROXY:
            # Without a worker nobody sets the mark, and the connection goes where it wanted to.
            seen = nftmatch.equal({"meta": {"key": "mark"}}, steering.dns_mark)
            yield [seen, *nftmatch.redirect(steering.dns_port)]
        yield leave
    elif rule.verdict is Verdict.OUTBOUND:
        yield nftmatch.redirect(steering.outbound_port)
    elif section is Section.TPROXY:
        yield nftmatch.tproxy(version, steering.inbound_port, steering.tproxy_mark)
    else:
        yield nftmatch.redirect(steering.inbound_port)
