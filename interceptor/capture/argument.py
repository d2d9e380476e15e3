"""One rule as arguments of iptables, spelled as iptables-save prints them.

A condition with several values that iptables cannot match at once becomes
several lines; their order does not matter, since all have one verdict.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from itertools import product

from interceptor.capture.rule import (
    Cgroup,
    Condition,
    Destination,
    DestinationLocal,
    DestinationSet,
    Interface,
    Mark,
    Network,
    Owner,
    Port,
    Rule,
    SetName,
    Source,
    narrowed,
)

MULTIPORT = 15
"""Ports in one multiport match (XT_MULTI_PORTS in linux/netfilter/xt_multiport.h)."""

NOWHERE: Mapping[int, tuple[Network, ...]] = {
    4: (ip_network("0.0.0.0/32"),),
    6: (ip_network("::/128"),),
}
"""For an empty set, whose rule has to stay (``Plan.released``): no packet goes there."""

Elements = Callable[[SetName], tuple[Network, ...]]
"""Networks of a set, where they are written out for want of ipset."""


class Slot(enum.IntEnum):
    """The order in which iptables-save prints."""

    SOURCE = 0
    DESTINATION = 1
    INTERFACE = 2
    PROTOCOL = 3
    MATCH = 4


Piece = tuple[Slot, str]


@dataclass(frozen=True, slots=True)
class Dialect:
    """What the place decides: family, hook, protocols met there, cgroups that exist.

    ``elements`` is None where ipset holds the sets.
    """

    version: int
    outgoing: bool
    protocols: tuple[str, ...]
    cgroups: frozenset[str]
    elements: Elements | None = None


def lines(rule: Rule, dialect: Dialect, target: str, needs_protocol: bool) -> Iterator[str]:
    """A rule as arguments, without its chain; none where it cannot hold in this family.

    ``target`` starts at ``-j``; ``needs_protocol``: it is one of TCP or UDP only.
    """
    conditions = narrowed(rule.conditions, dialect.version)
    if conditions is None:
        return
    ports = any(isinstance(condition, Port) for condition in conditions)
    protocols: tuple[str, ...] = ("",)
    if rule.protocol:
        protocols = (rule.protocol,)
    elif ports or needs_protocol:
        protocols = dialect.protocols
    remark = (Slot.MATCH, f"-m comment --comment {quote(comment(rule))}")
    for protocol in protocols:
        slots: list[Sequence[tuple[Piece, ...]]] = [
            _alternatives(condition, dialect, protocol) for condition in conditions
        ]
        if protocol:
            slots.insert(0, [((Slot.PROTOCOL, f"-p {protocol}"),)])
        for choice in product(*slots):
            pieces = sorted((piece for part in choice for piece in part), key=lambda item: item[0])
            yield " ".join([text for _, text in [*pieces, remark]] + [target])


def comment(rule: Rule) -> str:
    return f"interceptor {rule.number}: {rule.why}"


def quote(text: str) -> str:
    """As iptables-save quotes (and iptables-restore reads) a text with spaces."""
    escaped = "".join(f"\\{letter}" if letter in "\\\"'" else letter for letter in text)
    return f'"{escaped}"'


def _alternatives(
    condition: Condition, dialect: Dialect, protocol: str
) -> Sequence[tuple[Piece, ...]]:
    """Each alternative is one line's pieces for this condition."""
    match condition:
        case Interface(names):
            flag = "-o" if dialect.outgoing else "-i"
            return [((Slot.INTERFACE, f"{flag} {name}"),) for name in names]
        case Source(networks, negate):
            return _networks(Slot.SOURCE, "-s", networks, negate)
        case Destination(networks, negate):
            return _networks(Slot.DESTINATION, "-d", networks, negate)
        case DestinationSet(name):
            if dialect.elements is not None:
                elements = dialect.elements(name) or NOWHERE[dialect.version]
                return _networks(Slot.DESTINATION, "-d", elements, False)
            full = set_name(name, dialect.version)
            return [((Slot.MATCH, f"-m set --match-set {full} dst"),)]
        case DestinationLocal(negate):
            return [((Slot.MATCH, f"-m addrtype {_not(negate)}--dst-type LOCAL"),)]
        case Port(ports, negate):
            return _ports(ports, negate, protocol)
        case Owner(kind, ids, negate):
            flag = f"--{kind.value}-owner"
            return _each([f"-m owner {_not(negate)}{flag} {number}" for number in ids], negate)
        case Cgroup(paths, negate):
            there = [path.strip("/") for path in paths if path.strip("/") in dialect.cgroups]
            return _each([f"-m cgroup {_not(negate)}--path {path}" for path in there], negate)
        case Mark(value):
            return [((Slot.MATCH, f"-m mark --mark {value:#x}"),)]


def _not(negate: bool) -> str:
    return "! " if negate else ""


def _each(texts: Sequence[str], negate: bool) -> Sequence[tuple[Piece, ...]]:
    """Any of them as a line each; none of them as one line with all."""
    pieces: list[Piece] = [(Slot.MATCH, text) for text in texts]
    return [tuple(pieces)] if negate else [(piece,) for piece in pieces]


def _networks(
    slot: Slot, flag: str, networks: Sequence[Network], negate: bool
) -> Sequence[tuple[Piece, ...]]:
    """Raises ValueError for "none of several", which one iptables rule cannot say."""
    if negate and len(networks) > 1:
        raise ValueError("iptables negates one network a rule")
    return [((slot, f"{_not(negate)}{flag} {network}"),) for network in networks]


def _ports(ports: Sequence[int], negate: bool, protocol: str) -> Sequence[tuple[Piece, ...]]:
    if len(ports) == 1:
        return _each([f"-m {protocol} {_not(negate)}--dport {ports[0]}"], negate)
    chunks = [ports[start : start + MULTIPORT] for start in range(0, len(ports), MULTIPORT)]
    texts = [f"-m multiport {_not(negate)}--dports {','.join(map(str, chunk))}" for chunk in chunks]
    return _each(texts, negate)


def set_name(name: SetName, version: int) -> str:
    """The ipset that holds a named set in one family."""
    return f"interceptor_{name.value}{version}"
