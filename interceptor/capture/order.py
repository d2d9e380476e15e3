"""The order of design §5 as rules: what a configuration captures, first match first.

Each of the functions below gives the rules of one number, for both hooks. The
traps that the order avoids are told where a rule would look wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network

from interceptor.capture.rule import (
    Cgroup,
    Condition,
    Destination,
    DestinationLocal,
    DestinationSet,
    Hook,
    Interface,
    Mark,
    Owner,
    OwnerKind,
    Port,
    Rule,
    SetName,
    Source,
    Verdict,
)
from interceptor.config import Config

DNS_PORT = 53
HBONE_PORT = 15008
TPROXY_MARK_OFFSET = 2  # capture.mark + 2 is what TPROXY's packets bear
LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
PASSTHROUGH = (ip_network("127.0.0.6/32"), ip_network("::6/128"))
"""Envoy's inbound passthrough cluster binds its upstream sockets to these (Istio's convention)."""

OUT, IN = Hook.OUTPUT, Hook.PREROUTING
LO = Interface(("lo",))


def rules(config: Config, *, dns: bool, tcp: bool) -> tuple[Rule, ...]:
    """Every rule of the two planes that are on, in the order in which they are decided."""
    if not (dns or tcp):
        return ()
    found = [*_excluded_interfaces(config), *_sidecar(config, tcp)]
    if tcp:
        why = "already through inbound: came from Envoy's passthrough address"
        found.append(Rule(3, OUT, Verdict.PASS, why, (LO, Source(PASSTHROUGH))))
    found += _owners(config)
    if dns:
        found += _dns(config)
    if tcp:
        found += [*_not_outbound(config), *_outbound(config), *_inbound(config)]
    for hook in Hook:
        if any(rule.hook is hook and rule.verdict is not Verdict.PASS for rule in found):
            found.append(Rule(9, hook, Verdict.PASS, "nothing asks for its capture"))
    return tuple(found)


def _excluded_interfaces(config: Config) -> Iterator[Rule]:
    names = config.capture.interfaces.exclude
    if names:
        for hook in (OUT, IN):
            yield Rule(1, hook, Verdict.PASS, "excluded interface", (Interface(names),))


def _sidecar(config: Config, tcp: bool) -> Iterator[Rule]:
    """Rule 2: the loop guard, and before it the way of a call to oneself.

    A connection from the passthrough address must not match the exception: it
    has been through inbound, and would go there again for ever. Neither does
    what Envoy sends in the name of a client, by its mark. Neither DNS nor
    HBONE nor a port that inbound leaves alone ever goes there.
    """
    yield Rule(
        2, OUT, Verdict.PASS, "the agent's own socket, by its mark", (Mark(config.capture.mark),)
    )
    if config.sidecar.mode == "none":
        return
    owners = (
        Owner(OwnerKind.UID, (config.sidecar.uid,)),
        Owner(OwnerKind.GID, (config.sidecar.gid,)),
    )
    inbound = config.capture.inbound
    if tcp and inbound.mode == "tproxy" and inbound.ports:
        why = "the sidecar calls the application for a client: through inbound already"
        yield Rule(2, OUT, Verdict.PASS, why, (Mark(config.capture.mark + TPROXY_MARK_OFFSET),))
    if tcp:
        to_oneself: tuple[Condition, ...] = (
            LO,
            Source(PASSTHROUGH, negate=True),
            Destination(LOOPBACK, negate=True),
            DestinationLocal(),
            Port(tuple(sorted({DNS_PORT, HBONE_PORT, *_spared_ports(config)})), negate=True),
        )
        for owner in owners:
            why = "the sidecar calls this VM's own service: through inbound, so that policy holds"
            yield Rule(2, OUT, Verdict.INBOUND, why, (*to_oneself, owner), "tcp")
    for owner in owners:
        why = f"the sidecar's own traffic, by its {owner.kind.value}"
        yield Rule(2, OUT, Verdict.PASS, why, (owner,))


def _owners(config: Config) -> Iterator[Rule]:
    """Rule 4. DNS is included, so it stands before rule 5."""
    owners = config.capture.owners
    excluded: tuple[tuple[str, Condition, bool], ...] = (
        ("user", Owner(OwnerKind.UID, owners.exclude_uids), bool(owners.exclude_uids)),
        ("group", Owner(OwnerKind.GID, owners.exclude_gids), bool(owners.exclude_gids)),
        ("cgroup", Cgroup(owners.exclude_cgroups), bool(owners.exclude_cgroups)),
    )
    for what, condition, wanted in excluded:
        if wanted:
            yield Rule(4, OUT, Verdict.PASS, f"excluded owner, by its {what}", (condition,))
    outside: list[Condition] = []
    if owners.include_uids:
        outside.append(Owner(OwnerKind.UID, owners.include_uids, negate=True))
    if owners.include_gids:
        outside.append(Owner(OwnerKind.GID, owners.include_gids, negate=True))
    if owners.include_cgroups:
        outside.append(Cgroup(owners.include_cgroups, negate=True))
    if outside:
        yield Rule(4, OUT, Verdict.PASS, "not one of the included owners", tuple(outside))


def _dns(config: Config) -> Iterator[Rule]:
    """Rule 5, before rule 6: a stub resolver on 127.0.0.53 is asked over loopback."""
    servers: tuple[Condition, ...] = ()
    if config.dns.servers != "all":
        servers = (DestinationSet(SetName.DNS),)
    port = Port((DNS_PORT,))
    yield Rule(5, OUT, Verdict.DNS, "DNS to a captured server", (*servers, port))
    bridges = config.capture.interfaces.bridges
    if bridges:
        why = "DNS of a container to a captured server"
        yield Rule(5, IN, Verdict.DNS, why, (Interface(bridges), *servers, port))


def _not_outbound(config: Config) -> Iterator[Rule]:
    """Rule 6. What a container sends to this VM's own address is inbound, and left to rule 8."""
    outbound = config.capture.outbound
    bridges = config.capture.interfaces.bridges
    places: list[tuple[Hook, tuple[Condition, ...]]] = [(OUT, ())]
    if bridges:
        places.append((IN, (Interface(bridges), DestinationLocal(negate=True))))
    for hook, where in places:
        if outbound.exclude_ports:
            condition = Port(outbound.exclude_ports)
            yield Rule(6, hook, Verdict.PASS, "excluded outbound port", (*where, condition), "tcp")
        if hook is OUT:
            yield Rule(6, OUT, Verdict.PASS, "loopback", (Destination(LOOPBACK),), "tcp")
            yield Rule(6, OUT, Verdict.PASS, "this VM's own address", (DestinationLocal(),), "tcp")
        if outbound.exclude_cidrs:
            excluded = Destination(outbound.exclude_cidrs)
            yield Rule(6, hook, Verdict.PASS, "excluded CIDR", (*where, excluded), "tcp")


def _outbound(config: Config) -> Iterator[Rule]:
    """Rule 7; ports before networks. Even "*" is a set, so that emptying it stops capture."""
    bridges = config.capture.interfaces.bridges
    places: list[tuple[Hook, str, tuple[Condition, ...]]] = [(OUT, "", ())]
    if bridges:
        inside = (Interface(bridges), DestinationLocal(negate=True))
        places.append((IN, " of a container", inside))
    for hook, whose, where in places:
        if config.capture.outbound.ports:
            why = f"included outbound port{whose}"
            condition = Port(config.capture.outbound.ports)
            yield Rule(7, hook, Verdict.OUTBOUND, why, (*where, condition), "tcp")
        why = f"mesh address, VIP or included CIDR{whose}"
        destination = DestinationSet(SetName.OUTBOUND)
        yield Rule(7, hook, Verdict.OUTBOUND, why, (*where, destination), "tcp")


def _spared_ports(config: Config) -> frozenset[int]:
    """Ports that inbound leaves alone: those excluded and the agent's own, unless named."""
    inbound, sidecar = config.capture.inbound, config.sidecar
    own = {sidecar.admin_port, sidecar.readiness_port, sidecar.prometheus_port}
    listen = config.agent.listen.rpartition(":")[2]
    if listen.isdigit():
        own.add(int(listen))
    named = set() if inbound.ports == "*" else set(inbound.ports)
    return frozenset(({*inbound.exclude_ports, *own} - named) | {HBONE_PORT})


def _inbound(config: Config) -> Iterator[Rule]:
    """Rule 8. Without included ports nothing arriving is looked at."""
    inbound = config.capture.inbound
    if not inbound.ports:
        return
    elsewhere = (DestinationLocal(negate=True),)
    yield Rule(8, IN, Verdict.PASS, "local traffic is not inbound", (LO,), "tcp")
    yield Rule(8, IN, Verdict.PASS, "not addressed to this VM", elsewhere, "tcp")
    hbone = (Port((HBONE_PORT,)),)
    yield Rule(8, IN, Verdict.PASS, "HBONE arrives at its own listener", hbone, "tcp")
    spared = Port(tuple(sorted(_spared_ports(config) - {HBONE_PORT})))
    if spared.ports:
        yield Rule(8, IN, Verdict.PASS, "excluded inbound port", (spared,), "tcp")
    if inbound.ports == "*":
        yield Rule(8, IN, Verdict.INBOUND, "every other inbound port is included", (), "tcp")
    else:
        included = (Port(inbound.ports),)
        yield Rule(8, IN, Verdict.INBOUND, "included inbound port", included, "tcp")
