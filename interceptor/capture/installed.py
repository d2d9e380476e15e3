"""The very rule that decides on a flow, as it stands on this host, with its counter.

Read from the kernel, not from the plan: `nft list`, iptables-save, or the maps of the programs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from interceptor.capture.plan import Flow, Plan
from interceptor.capture.rule import (
    Destination,
    DestinationSet,
    Hook,
    Owner,
    OwnerKind,
    Port,
    Rule,
    SetName,
    Source,
    Verdict,
)
from interceptor.capture.rule import Network as IpNetwork
from interceptor.host import bpfmap, command, pin
from interceptor.host.bpfmap import BpfMap
from interceptor.host.layout import (
    DNS_RESULTS,
    DNS_TYPES,
    NUMBER_KEY,
    RESULTS_SIZE,
    TCP_RESULTS,
    Map,
    Network,
    Number,
    State,
    network_key,
)

NFT = ("nft", "--terse", "list", "table", "inet", "interceptor")
VARIANTS = ("nft", "legacy")
_PACKETS = re.compile(r"\bcounter packets (\d+) ")
_SAVED = re.compile(r"^\[(\d+):\d+\] -A (INTERCEPTOR_\S+) (.*)$")
_OTHERS = {
    4: re.compile(r"\bip6 |nfproto ipv6|@\w+6\b"),
    6: re.compile(r"\bip [sd]addr|nfproto ipv4|@\w+4\b"),
}
"""What a rule of the other address family says."""


@dataclass(frozen=True, slots=True)
class Line:
    """One rule or map entry, and how many packets or decisions it has counted."""

    text: str
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """What was found. ``backend`` is empty where nothing of ours is installed at all;
    ``counter`` says what is counted where that is more than one rule."""

    backend: str = ""
    lines: tuple[Line, ...] = ()
    counter: str = ""


def observe(plan: Plan, rule: Rule, flow: Flow, bpf_dir: Path) -> Standing:
    """The rule as it is installed now. Without root there is nothing to see."""
    by_programs = _observe_programs(plan, rule, flow, bpf_dir)
    if by_programs is not None:
        return by_programs
    listed = command.run(NFT, check=False)
    if listed and (lines := tuple(parse_nft(listed.stdout, rule, flow))):
        return Standing("nftables", lines)
    # Also beside nftables, where the kernel takes the queue's rule from iptables only.
    program = "iptables" if flow.destination.version == 4 else "ip6tables"
    for variant in VARIANTS:
        saved = command.run([f"{program}-{variant}-save", "--counters"], check=False).stdout
        if lines := tuple(parse_saved(saved, rule, flow)):
            return Standing(f"iptables-{variant}", lines)
    return Standing("nftables" if listed else "")


def _is_for(rule: Rule, text: str) -> bool:
    """By the comment that every rule of ours has."""
    return f'{rule.number}: {rule.why}"' in text.replace("\\'", "'")


def parse_nft(text: str, rule: Rule, flow: Flow) -> Iterator[Line]:
    """Read `nft list table`: the lines of a rule in the chains that see the flow."""
    suffix = "_output" if flow.hook is Hook.OUTPUT else "_prerouting"
    chain = ""
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith("chain "):
            chain = line.split()[1]
        elif _is_for(rule, line) and not _OTHERS[flow.destination.version].search(line):
            is_queue = chain.startswith("queue")
            if (chain.endswith(suffix) or chain == "included_owners") and _is_seen(flow, is_queue):
                packets = _PACKETS.search(line)
                count = int(packets[1]) if packets else None
                yield Line(f"inet interceptor {chain}: {line}", count)


def _is_seen(flow: Flow, is_queue: bool) -> bool:
    """Whether a chain of that kind meets this flow: queries the queue's, connections the others."""
    if flow.protocol == "udp":
        return is_queue
    return flow.port == 53 or not is_queue


def parse_saved(text: str, rule: Rule, flow: Flow) -> Iterator[Line]:
    """Read `iptables-save --counters` of one family."""
    is_output = flow.hook is Hook.OUTPUT
    for line in text.splitlines():
        found = _SAVED.match(line)
        if found is None or not _is_for(rule, line):
            continue
        chain = found[2]
        is_queue = chain.startswith("INTERCEPTOR_DNS")
        arriving = chain.endswith(("_IN", "PREROUTING", "TPROXY"))
        if arriving is not is_output and _is_seen(flow, is_queue):
            yield Line(f"{chain} {found[3]}", int(found[1]))


# --- programs


def _observe_programs(plan: Plan, rule: Rule, flow: Flow, bpf_dir: Path) -> Standing | None:
    """What the programs' maps say; None where no program of ours decides on such flows."""
    if not _is_attached(flow, bpf_dir):
        return None
    state = pin.adopt_map(bpf_dir, Map.STATE)
    if state is None:
        return None
    try:
        generation = bpfmap.read_state(state, State.GENERATION) & 1
    finally:
        state.close()
    lines = tuple(_entries(plan, rule, flow, bpf_dir, generation))
    return Standing("ebpf", lines, f"decisions of that kind by the programs: {result(rule, flow)}")


def _is_attached(flow: Flow, bpf_dir: Path) -> bool:
    links = pin.links(bpf_dir)
    if flow.protocol == "udp":
        named = any(link.startswith(("egress", "ingress", "lo")) for link in links)
        return named or (bpf_dir / pin.CLSACT).exists()
    wanted = "connect" if flow.hook is Hook.OUTPUT else "lookup"
    return any(wanted in link for link in links)


def result(rule: Rule, flow: Flow) -> str:
    """Under which of the programs' results such a decision is counted."""
    if flow.protocol == "udp":
        return "answer, nodata, pass, handover" if rule.verdict is Verdict.DNS else "exempt"
    if rule.number in (2, 4) and rule.verdict is Verdict.PASS:
        return "exempt"
    if rule.verdict is Verdict.PASS:
        return "pass" if flow.hook is Hook.OUTPUT else "inbound-pass"
    if rule.number == 2:
        return "self"
    return str(rule.verdict.value)


def _count(bpf_dir: Path, names: Iterable[str], flow: Flow) -> int | None:
    is_dns = flow.protocol == "udp"
    counts = pin.adopt_map(bpf_dir, Map.DNS_COUNTS if is_dns else Map.TCP_COUNTS)
    if counts is None:
        return None
    try:
        if not is_dns:
            places = [TCP_RESULTS.index(name) for name in names if name in TCP_RESULTS]
        else:
            rows = range(len(DNS_TYPES))
            found = [DNS_RESULTS.index(name) for name in names if name in DNS_RESULTS]
            places = [row * RESULTS_SIZE + at for row in rows for at in found]
        return sum(counts.sum(bpfmap.index(place)) for place in places)
    finally:
        counts.close()


def _entries(plan: Plan, rule: Rule, flow: Flow, bpf_dir: Path, generation: int) -> Iterator[Line]:
    """The entries by which the programs decide as the rule does, as far as there are any."""
    count = _count(bpf_dir, result(rule, flow).split(", "), flow)
    keys = list(_keys(plan, rule, flow, generation))
    if not keys:
        yield Line(f"map policy, generation {generation}: rule {rule.number}, {rule.why}", count)
    for number, key, words in keys:
        opened = pin.adopt_map(bpf_dir, number)
        if opened is not None and _has(opened, key):
            yield Line(f"map {number.name.lower()}, generation {generation}: {words}", count)
            count = None  # counted once, not for each entry


def _has(opened: BpfMap, key: bytes) -> bool:
    try:
        return opened.lookup(key) is not None
    finally:
        opened.close()


def _keys(plan: Plan, rule: Rule, flow: Flow, generation: int) -> Iterator[tuple[Map, bytes, str]]:
    for condition in rule.conditions:
        match condition:
            case DestinationSet(SetName.OUTBOUND):
                every = plan.networks(SetName.OUTBOUND, flow.destination.version)
                yield from _network(Network.OUTBOUND, every, flow, generation)
            case DestinationSet(SetName.DNS):
                yield from _network(Network.SERVER, plan.servers, flow, generation)
            case Destination(networks, False) if rule.number == 6:
                yield from _network(Network.SPARED, networks, flow, generation)
            case Port(_, False) if (rule.number, rule.verdict) in _PORTS:
                kind = _PORTS[rule.number, rule.verdict]
                yield _number(kind, flow.port, generation)
            case Owner(kind, _, False) if rule.number == 4:
                is_uid = kind is OwnerKind.UID
                value = flow.uid if is_uid else flow.gid
                if value is not None:
                    number = Number.EXCLUDE_UID if is_uid else Number.EXCLUDE_GID
                    yield _number(number, value, generation)
            case Source() | _:
                continue


_PORTS = {
    (6, Verdict.PASS): Number.OUT_PORT_SPARED,
    (7, Verdict.OUTBOUND): Number.OUT_PORT,
    (8, Verdict.PASS): Number.IN_PORT_SPARED,
    (8, Verdict.INBOUND): Number.IN_PORT,
}


def _number(kind: Number, value: int, generation: int) -> tuple[Map, bytes, str]:
    key = NUMBER_KEY.pack(kind, generation, value)
    return Map.NUMBERS, key, f"{kind.name.lower().replace('_', '-')} {value}"


def _network(
    kind: Network, every: Iterable[IpNetwork], flow: Flow, generation: int
) -> Iterator[tuple[Map, bytes, str]]:
    for network in every:
        if flow.destination in network:
            key = network_key(kind, generation, network)
            yield Map.NETWORKS, key, f"{kind.name.lower()} {network}"
