"""Whether the rules of others let through what we send, and whose come before ours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from interceptor.config import Config
from interceptor.debug.doctor import packet
from interceptor.debug.doctor.check import Check, Group, State
from interceptor.debug.doctor.fact import Address, Facts
from interceptor.debug.doctor.packet import Chain, Fate, Packet, Ruleset

QUEUE, REDIRECT, LAST = -150, -101, 1 << 30
"""The priorities of our chains (capture.ruleset), and after all of them."""
FIRST = -(1 << 31)
BLOCKS = frozenset({"drop", "reject"})
TAKES = frozenset({"redirect", "dnat", "tproxy", "queue"})
DONE = {
    "drop": "dropped",
    "reject": "rejected",
    "queue": "queued",
    "accept": "let through, past our rules,",
}
EPHEMERAL = 45678
RIVALS = ("Istio", "Linkerd", "Kuma", "Cilium")
ALIAS = "127.64.0.7"  # of a captured destination with ebpf (host.layout, ALIAS4_NETWORKS)


@dataclass(frozen=True, slots=True)
class Passage:
    """One packet that has to pass the rules of a hook whose priority is above ``after`` and
    below ``before``. ``taken``: being sent elsewhere is as bad as being dropped."""

    name: str
    hook: str
    packet: Packet
    why: str
    cure: str
    after: int = FIRST
    before: int = LAST
    taken: bool = False


def decide(facts: Facts, config: Config) -> Iterator[Check]:
    """All of it."""
    yield from _neighbours(facts)
    found = [check for each in passages(facts, config) if (check := _judge(facts.ruleset, each))]
    yield from found
    if not found:
        seen = "stand in nobody's way" if facts.ruleset.chains else "none"
        yield Check(Group.FIREWALL, "rules of others", State.OK, seen)


def _neighbours(facts: Facts) -> Iterator[Check]:
    for line in facts.neighbours:
        rival = next((name for name in RIVALS if line.startswith(f"{name}:")), "")
        if rival and rival != "Cilium":
            why = f"{rival} captures on this host: two agents would take each other's connections"
            cure = f"remove {rival}'s rules (istio-clean-iptables and the like)"
            yield Check(Group.FIREWALL, rival, State.FAULT, line, why, cure)
    others = [line for line in facts.neighbours if not line.startswith(tuple(RIVALS[:3]))]
    if others:
        more = f" and {len(others) - 4} more" if len(others) > 4 else ""
        seen = "; ".join(others[:4]) + more
        yield Check(Group.FIREWALL, "neighbours", State.OK, seen)


def passages(facts: Facts, config: Config) -> Iterator[Passage]:
    """What has to get through with the chosen back end, each IP version that the host has."""
    for own in facts.net.usual or facts.net.addresses[:1]:
        vips = config.mesh.vip_ranges
        vip = (vips.ipv4 if own.version == 4 else vips.ipv6)[1]
        server = next((s for s in facts.names.servers if s.version == own.version), None)
        device = next(
            (choice.device for _, choice in facts.net.ways if choice.source == own), "eth0"
        )
        if config.dns.enabled and server is not None:
            yield from _dns(own, server, "lo" if server.is_loopback else device, facts)
        if config.capture.enabled and config.sidecar.mode != "none":
            tcp = facts.host.backends[0]
            yield from _outbound(own, vip, device, config.sidecar.outbound_port, tcp)
            yield from _inbound(own, config, tcp)


def _dns(own: Address, server: Address, device: str, facts: Facts) -> Iterator[Passage]:
    query = Packet("udp", own, server, EPHEMERAL, 53, device)
    why = "mesh names are not answered"
    cure = "allow UDP and TCP port 53 out"
    if facts.host.backends[1] == "ebpf":
        yield Passage("DNS query", "output", query, why, cure)
        return
    yield Passage("DNS query", "output", query, why, cure, before=QUEUE, taken=True)
    answer = Packet("udp", server, own, 53, EPHEMERAL, device)
    cure = "allow UDP from port 53 out (ufw allow out proto udp from any port 53), or ebpf"
    yield Passage("DNS answer", "output", answer, why, cure, after=QUEUE)
    if not server.is_loopback:
        arrives = Packet("udp", server, own, 53, EPHEMERAL, "lo", None)
        cure = "allow what arrives by lo"
        yield Passage("DNS answer on its way in", "input", arrives, why, cure)


def _outbound(
    own: Address, vip: Address, device: str, port: int, backend: str
) -> Iterator[Passage]:
    why = "calls to mesh services do not reach the sidecar"
    call = Packet("tcp", own, vip, EPHEMERAL, 80, device)
    if backend == "ebpf":
        loopback = ip_address(ALIAS if own.version == 4 else "fdc8:3d1f:62a7::7")
        aliased = Packet("tcp", loopback, loopback, EPHEMERAL, port, "lo")
        cure = f"allow TCP port {port} on lo"
        yield Passage("captured call", "output", aliased, why, cure, taken=True)
        return
    cure = "let ours come first: capture.backend: ebpf, or except the VIP ranges there"
    name = "call to a VIP"
    yield Passage(name, "output", call, why, cure, before=REDIRECT, taken=True)
    loopback = ip_address("127.0.0.1" if own.version == 4 else "::1")
    sent = Packet("tcp", own, loopback, EPHEMERAL, port, device, translated=True)
    cure = f"allow TCP to {loopback} port {port} out, whatever the device, or capture.backend: ebpf"
    yield Passage("redirected call", "output", sent, why, cure, after=REDIRECT)
    arrives = Packet("tcp", own, loopback, EPHEMERAL, port, "lo", None, translated=True)
    cure = "allow what arrives by lo"
    yield Passage("redirected call on its way in", "input", arrives, why, cure)


def _inbound(own: Address, config: Config, backend: str) -> Iterator[Passage]:
    wanted = config.capture.inbound.ports
    if not wanted:
        return
    port = wanted[0] if isinstance(wanted, tuple) else 8080
    if backend != "ebpf" and config.capture.inbound.mode == "redirect":
        port = config.sidecar.inbound_port
    peer = ip_address("198.51.100.9" if own.version == 4 else "2001:db8::9")
    call = Packet("tcp", peer, own, EPHEMERAL, port, "eth0", None, translated=True)
    why, cure = "nobody can call this VM through the mesh", f"allow TCP port {port} in"
    yield Passage("captured call from others", "input", call, why, cure)


def _behind(ruleset: Ruleset, passage: Passage) -> Check | None:
    """A rule of others that ends a chain before our jump in it, where others came after us."""
    version = passage.packet.destination.version
    for base in ruleset.bases(passage.hook, version):
        if any(rule.verdict == packet.OURS for rule in base.rules):
            first = next(iter(packet.judge(ruleset, base, passage.packet)))
            if first.certain and first.verdict != packet.OURS and first.is_rule:
                return _told(first, passage, version)
    return None


def _judge(ruleset: Ruleset, passage: Passage) -> Check | None:
    """The first rule that stands in the way; None where none does."""
    version = passage.packet.destination.version
    if passage.taken and (found := _behind(ruleset, passage)):
        return found
    bad = BLOCKS | TAKES if passage.taken else BLOCKS
    for base in ruleset.bases(passage.hook, version):
        if not passage.after < base.priority < passage.before:
            continue
        for fate in packet.judge(ruleset, base, passage.packet):
            if fate.verdict in bad and _counts(fate, base):
                return _told(fate, passage, version)
            if fate.certain and fate.verdict in TAKES:
                return None  # it is another packet from here on
    return None


def _counts(fate: Fate, base: Chain) -> bool:
    """A rule that may apply is no news in a chain that lets everything else through, unless it
    takes the packet away."""
    return fate.certain or base.policy != "accept" or fate.verdict in TAKES


def _told(fate: Fate, passage: Passage, version: int) -> Check:
    state = State.FAULT if fate.certain else State.NOTE
    may = "" if fate.certain else "may be "
    done = DONE.get(fate.verdict, "sent elsewhere")
    name = f"{passage.name} (IPv{version})"
    where = f"{fate.chain.place}, {fate.chain.hook} priority {fate.chain.priority}"
    seen = f"{may}{done} by {where}: {fate.text}"
    return Check(Group.FIREWALL, name, state, seen, passage.why, passage.cure)
