"""The rules of a plan, each in its place in the policy of the ebpf programs.

The programs decide in the fixed order of design §5. So each form of rule has
one place here, and a rule that has none is a named `Gap`: nothing that was
asked for is left out silently. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_network

from interceptor.capture.order import DNS_PORT, LO, LOOPBACK, PASSTHROUGH
from interceptor.capture.plan import Plan, Plane
from interceptor.capture.policy import NO_CGROUP, NO_FLAGS, NOBODY, CgroupRef, Policy
from interceptor.capture.rule import (
    Cgroup,
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
from interceptor.capture.rule import Network as IpNetwork
from interceptor.host.layout import CGROUPS, Network, Number, PolicyFlag


@dataclass(frozen=True, slots=True)
class Gap:
    """What of a plan the programs cannot do.

    ``is_whole``: the plane would do something else than was asked for;
    otherwise it does less, which only those get who ask for ebpf by name.
    ``is_apart``: only while another back end does the other plane.
    """

    plane: Plane
    what: str
    is_whole: bool = True
    is_apart: bool = False


@dataclass(slots=True)
class _Reading:
    """A policy while the rules of a plan are walked."""

    plan: Plan
    flags: PolicyFlag = NO_FLAGS
    sidecar: dict[OwnerKind, int] = field(default_factory=dict)
    excluded: tuple[str, ...] = ()
    included: tuple[str, ...] = ()
    numbers: set[tuple[Number, int]] = field(default_factory=set)
    networks: set[tuple[Network, IpNetwork]] = field(default_factory=set)
    spared_devices: tuple[str, ...] = ()
    bridges: tuple[str, ...] = ()
    gaps: dict[Gap, None] = field(default_factory=dict)

    def lacks(self, plane: Plane, what: str, *, is_whole: bool = True) -> None:
        self.gaps[Gap(plane, what, is_whole)] = None

    def put(self, kind: Number, values: Iterable[int], flag: PolicyFlag = NO_FLAGS) -> None:
        self.numbers.update((kind, value) for value in values)
        self.flags |= flag


def build(plan: Plan) -> Policy:
    """The policy of a plan; what `gaps` tells of is not in it."""
    reading = _read(plan)
    reading.networks |= {
        (Network.OUTBOUND, network)
        for version in plan.families
        for network in plan.networks(SetName.OUTBOUND, version)
    }
    return Policy(
        flags=reading.flags,
        steering=plan.steering,
        netns_cookie=plan.netns_cookie,
        sidecar_uid=reading.sidecar.get(OwnerKind.UID, NOBODY),
        sidecar_gid=reading.sidecar.get(OwnerKind.GID, NOBODY),
        excluded=_refs(plan, reading.excluded)[:CGROUPS],
        included=_refs(plan, reading.included)[:CGROUPS],
        numbers=frozenset(reading.numbers),
        networks=frozenset(reading.networks),
        spared_devices=reading.spared_devices,
        bridges=reading.bridges,
    )


def gaps(plan: Plan) -> tuple[Gap, ...]:
    """What of the plan the programs cannot do; empty where they can do everything."""
    together = tuple(_read(plan).gaps)
    if len(plan.planes) < 2:
        return together
    known = {gap.what for gap in together}
    apart = _read(plan.only(Plane.TCP)).gaps
    return (*together, *(replace(g, is_apart=True) for g in apart if g.what not in known))


def _read(plan: Plan) -> _Reading:
    reading = _Reading(plan)
    for version, flag in ((4, PolicyFlag.IPV4), (6, PolicyFlag.IPV6)):
        if version in plan.families:
            reading.flags |= flag
    reading.networks |= {(Network.SERVER, server) for server in plan.servers}
    own = [ip_network(a) for a in plan.own_addresses if not a.is_loopback]
    own += [r.destination for r in plan.routes if r.kind == "local" and not r.table]
    reading.networks |= {(Network.OWN, network) for network in own}
    for rule in plan.rules:
        _place(reading, rule)
    if plan.steering.tproxy and any(rule.verdict is Verdict.INBOUND for rule in plan.shape):
        reading.lacks(Plane.TCP, "capture.inbound.mode tproxy")
    for paths in (reading.excluded, reading.included):
        if len(paths) > CGROUPS:
            for plane in plan.planes:
                reading.lacks(plane, f"more than {CGROUPS} cgroups of owners in one list")
    return reading


def _place(reading: _Reading, rule: Rule) -> None:
    """Put one rule into its place: by its number, then by its form."""
    if not PLACES[rule.number](reading, rule):
        for plane in reading.plan.planes:
            reading.lacks(plane, f"rule {rule.number}, {rule.why}")


def _interface(reading: _Reading, rule: Rule) -> bool:
    match rule.hook, rule.verdict, rule.conditions:
        case Hook.OUTPUT, Verdict.PASS, (Interface(names),):
            reading.spared_devices = names
            what = {Plane.TCP: "", Plane.DNS: "DNS over TCP, beside "}
            for plane in reading.plan.planes:
                whole = plane is Plane.TCP
                reading.lacks(plane, f"{what[plane]}capture.interfaces.exclude", is_whole=whole)
        case Hook.PREROUTING, Verdict.PASS, (Interface(names),):
            indices = [device.index for device in reading.plan.devices if device.name in names]
            reading.put(Number.IN_INTERFACE_SPARED, indices, PolicyFlag.INTERFACES)
        case _:
            return False
    return True


def _sidecar(reading: _Reading, rule: Rule) -> bool:
    steering = reading.plan.steering
    to_oneself = (
        *(LO, Source(PASSTHROUGH, negate=True), Destination(LOOPBACK, negate=True)),
        DestinationLocal(),
    )
    match rule.verdict, rule.conditions:
        # TPROXY's mark is Envoy's alone, whose owner is exempt.
        case Verdict.PASS, (Mark(value),):
            return value in (steering.mark, steering.tproxy_mark)
        case Verdict.PASS, (Owner(kind, (one,), False),):
            reading.sidecar[kind] = one
            reading.flags |= PolicyFlag.SIDECAR
        case Verdict.INBOUND, (*oneself, Port(ports, True), Owner(kind, (one,), False)):
            if tuple(oneself) != to_oneself or rule.protocol != "tcp":
                return False
            reading.sidecar[kind] = one
            reading.put(Number.SELF_PORT_SPARED, ports, PolicyFlag.SELF)
        case _:
            return False
    return True


def _fixed(reading: _Reading, rule: Rule) -> bool:
    """What every policy says: rule 3, and that the rest passes."""
    del reading
    return rule.verdict is Verdict.PASS and rule.conditions in ((), (LO, Source(PASSTHROUGH)))


_EXCLUDED = {
    OwnerKind.UID: (Number.EXCLUDE_UID, PolicyFlag.EXCLUDE_UIDS),
    OwnerKind.GID: (Number.EXCLUDE_GID, PolicyFlag.EXCLUDE_GIDS),
}
_INCLUDED = {
    OwnerKind.UID: (Number.INCLUDE_UID, PolicyFlag.INCLUDE_UIDS),
    OwnerKind.GID: (Number.INCLUDE_GID, PolicyFlag.INCLUDE_GIDS),
}


def _owner(reading: _Reading, rule: Rule) -> bool:
    """An excluded owner is a rule of its own; outside of every include list is one rule."""
    for condition in rule.conditions:
        match condition:
            case Owner(kind, ids, negate):
                number, flag = (_INCLUDED if negate else _EXCLUDED)[kind]
                reading.put(number, ids, flag)
            case Cgroup(paths, True):
                reading.included = paths
            case Cgroup(paths, False):
                reading.excluded = paths
            case _:
                return False
        if not condition.negate and len(rule.conditions) > 1:
            return False
    return rule.verdict is Verdict.PASS


def _dns(reading: _Reading, rule: Rule) -> bool:
    conditions = [c for c in rule.conditions if c != DestinationSet(SetName.DNS)]
    listed = len(conditions) < len(rule.conditions)
    match rule.hook, rule.verdict, conditions:
        case Hook.OUTPUT, Verdict.DNS, [Port((53,), False)]:
            reading.flags |= PolicyFlag.DNS
        case Hook.PREROUTING, Verdict.DNS, [Interface(names), Port((53,), False)]:
            reading.bridges = names
            reading.flags |= PolicyFlag.DNS
            reading.lacks(Plane.DNS, "DNS over TCP of containers", is_whole=False)
        case Hook.OUTPUT, Verdict.PASS, [Port((53,), False)]:
            # Another back end's: it meets these connections after us.
            reading.put(Number.OUT_PORT_SPARED, (DNS_PORT,), PolicyFlag.OUT_PORTS_SPARED)
            if listed:
                reading.lacks(Plane.TCP, "dns.servers, while another back end does DNS")
            return True
        case Hook.PREROUTING, Verdict.PASS, [Interface(), Port((53,), False)]:
            return True
        case _:
            return False
    if not listed:
        reading.flags |= PolicyFlag.DNS_ALL
    return True


def _not_outbound(reading: _Reading, rule: Rule) -> bool:
    match rule.hook, rule.verdict, rule.conditions:
        case Hook.OUTPUT, Verdict.PASS, (Port(ports, False),):
            reading.put(Number.OUT_PORT_SPARED, ports, PolicyFlag.OUT_PORTS_SPARED)
        case Hook.OUTPUT, Verdict.PASS, (Destination(networks, False),):
            if networks != LOOPBACK:
                reading.networks |= {(Network.SPARED, network) for network in networks}
        case Hook.OUTPUT, Verdict.PASS, (DestinationLocal(False),):
            pass
        case Hook.PREROUTING, Verdict.PASS, (Interface(), DestinationLocal(True), *_):
            _contained(reading)
        case _:
            return False
    return True


def _outbound(reading: _Reading, rule: Rule) -> bool:
    match rule.hook, rule.verdict, rule.conditions:
        case Hook.OUTPUT, Verdict.OUTBOUND, (Port(ports, False),):
            reading.put(Number.OUT_PORT, ports, PolicyFlag.OUT_PORTS | PolicyFlag.OUTBOUND)
        case Hook.OUTPUT, Verdict.OUTBOUND, (DestinationSet(SetName.OUTBOUND),):
            reading.flags |= PolicyFlag.OUTBOUND
        case Hook.PREROUTING, Verdict.OUTBOUND, (Interface(), DestinationLocal(True), *_):
            _contained(reading)
        case _:
            return False
    return True


def _contained(reading: _Reading) -> None:
    reading.lacks(Plane.TCP, "capture.interfaces.bridges")


def _inbound(reading: _Reading, rule: Rule) -> bool:
    """What comes over lo, or is for another host, programs know by its addresses."""
    match rule.hook, rule.verdict, rule.conditions:
        case Hook.PREROUTING, Verdict.PASS, (Interface(("lo",)) | DestinationLocal(True),):
            pass
        case Hook.PREROUTING, Verdict.PASS, (Port(ports, False),):
            reading.put(Number.IN_PORT_SPARED, ports)
        case Hook.PREROUTING, Verdict.INBOUND, ():
            reading.flags |= PolicyFlag.INBOUND | PolicyFlag.INBOUND_ALL
        case Hook.PREROUTING, Verdict.INBOUND, (Port(ports, False),):
            reading.put(Number.IN_PORT, ports, PolicyFlag.INBOUND)
        case _:
            return False
    return True


PLACES: Mapping[int, Callable[[_Reading, Rule], bool]] = {
    1: _interface,
    2: _sidecar,
    3: _fixed,
    4: _owner,
    5: _dns,
    6: _not_outbound,
    7: _outbound,
    8: _inbound,
    9: _fixed,
}
"""By the number of a rule: puts it into its place, or says that it has none."""


def _refs(plan: Plan, paths: Iterable[str]) -> tuple[CgroupRef, ...]:
    """Cgroups as they exist now; one that does not holds nobody."""
    ids = dict(plan.cgroups)
    levels = {path: len([part for part in path.split("/") if part]) for path in paths}
    return tuple(CgroupRef(ids.get(path, NO_CGROUP), level) for path, level in levels.items())
