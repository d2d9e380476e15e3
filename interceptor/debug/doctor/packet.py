"""What the rules of others do with one packet: a reading of netfilter, as far as it goes.

A match that is not understood is neither true nor false: its rule may apply. What a chain
does for certain and what it may do are told apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

Address = IPv4Address | IPv6Address
OURS = "ours"
FINAL = frozenset({"accept", "drop", "reject", "redirect", "dnat", "tproxy", "queue", OURS})
DEPTH = 16  # the kernel's own limit of jumps (linux/netfilter/nf_tables.h, NFT_JUMP_STACK_SIZE)


@dataclass(frozen=True, slots=True)
class Packet:
    """The first packet of a flow. ``device`` is where it leaves or arrived; ``translated``:
    connection tracking has given it another destination."""

    protocol: str
    source: Address
    destination: Address
    source_port: int
    port: int
    device: str
    uid: int | None = 0
    translated: bool = False


@dataclass(frozen=True, slots=True)
class Match:
    """A condition: one of ``values`` (numbers, ``a-b`` ranges, networks) is the packet's ``key``.
    ``?`` stands for a key that is not understood."""

    key: str
    values: tuple[str, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. ``verdict`` is one of `FINAL` (`OURS`: a jump to a chain of ours), jump, goto,
    return, or empty: the next one's turn. ``target`` is the chain jumped to; ``text`` what an
    operator would recognise."""

    matches: tuple[Match, ...]
    verdict: str
    target: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain. ``hook`` is empty for one that is only jumped to; ``table`` names it in `Ruleset`;
    ``versions`` are the IP versions it sees."""

    table: str
    name: str
    versions: tuple[int, ...]
    hook: str = ""
    kind: str = "filter"
    priority: int = 0
    policy: str = "accept"
    rules: tuple[Rule, ...] = ()

    @property
    def place(self) -> str:
        """Its table and name."""
        return f"{self.table} {self.name}"


@dataclass(frozen=True, slots=True)
class Ruleset:
    """Chains of others, by table and name."""

    chains: Mapping[tuple[str, str], Chain] = field(default_factory=dict)

    def bases(self, hook: str, version: int) -> list[Chain]:
        """The base chains of a hook, in the order in which packets meet them."""
        found = [
            chain
            for chain in self.chains.values()
            if chain.hook == hook and version in chain.versions
        ]
        return sorted(found, key=lambda chain: chain.priority)


@dataclass(frozen=True, slots=True)
class Fate:
    """What one base chain does. ``certain`` is false where a condition was not understood."""

    verdict: str
    chain: Chain
    text: str
    certain: bool = True

    @property
    def is_rule(self) -> bool:
        """Whether a rule says so, and not the chain's policy."""
        return not self.text.startswith(POLICY)


POLICY = "policy "


def holds(match: Match, packet: Packet) -> bool | None:
    """Whether a condition is true; None where that cannot be said."""
    found = _holds(match, packet)
    return found if found is None else found is not match.negated


def _holds(match: Match, packet: Packet) -> bool | None:
    words = [value.lower() for value in match.values]
    if match.key in ("daddr", "saddr"):
        address = packet.destination if match.key == "daddr" else packet.source
        return _any(_has_address(word, address) for word in words)
    if match.key in ("dport", "sport"):
        number = packet.port if match.key == "dport" else packet.source_port
        return _any(_has_number(word, number) for word in words)
    if match.key == "uid":
        return None if packet.uid is None else _any(_has_number(w, packet.uid) for w in words)
    if match.key == "device":
        return any(_has_name(value, packet.device) for value in match.values)
    if match.key == "status":
        return packet.translated if words == ["dnat"] else None
    known = {
        "protocol": {packet.protocol, {"tcp": "6", "udp": "17"}.get(packet.protocol, "")},
        "version": {str(packet.destination.version), f"ipv{packet.destination.version}"},
        "state": {"new"},
    }
    return bool(known[match.key] & set(words)) if match.key in known else None


def _any(found: Iterable[bool | None]) -> bool | None:
    every = list(found)
    return True if True in every else None if None in every else False


def _has_address(word: str, address: Address) -> bool | None:
    try:
        if "-" in word:
            first, last = map(ip_address, word.split("-"))
            same = first.version == last.version == address.version
            return same and int(first) <= int(address) <= int(last)
        return address in ip_network(word, strict=False)
    except ValueError:
        return None


def _has_number(word: str, number: int) -> bool | None:
    first, _, last = word.partition("-")
    if not first.isdigit() or (last and not last.isdigit()):
        return None
    return int(first) <= number <= int(last or first)


def _has_name(value: str, name: str) -> bool:
    if value.endswith(("+", "*")):
        return name.startswith(value[:-1])
    return value == name


@dataclass(frozen=True, slots=True)
class _Way:
    """A packet in one base chain."""

    ruleset: Ruleset
    base: Chain
    packet: Packet


def judge(ruleset: Ruleset, base: Chain, packet: Packet) -> Iterator[Fate]:
    """What may become of a packet in one base chain: uncertain verdicts first, at the end the
    certain one, be it the policy."""
    for fate in _walk(_Way(ruleset, base, packet), base, True, DEPTH):
        yield fate
        if fate.certain:
            return
    yield Fate(base.policy, base, POLICY + base.policy)


def _walk(way: _Way, chain: Chain, certain: bool, depth: int) -> Iterator[Fate]:
    """``return`` of a rule that may not apply is passed over: that errs on the side of telling."""
    for rule in chain.rules:
        found = _all_of(rule, way.packet)
        if found is False:
            continue
        is_certain = certain and found is True
        if rule.verdict in ("jump", "goto"):
            below = way.ruleset.chains.get((chain.table, rule.target))
            if below is not None and depth:
                yield from _walk(way, below, is_certain, depth - 1)
            if rule.verdict == "goto" and is_certain:
                return
        elif rule.verdict == "return" and found is True:
            return
        elif rule.verdict in FINAL:
            yield Fate(rule.verdict, way.base, rule.text, is_certain)
            if found is True:
                return


def _all_of(rule: Rule, packet: Packet) -> bool | None:
    """Whether all conditions of a rule are true."""
    found = [holds(match, packet) for match in rule.matches]
    return False if False in found else None if None in found else True
