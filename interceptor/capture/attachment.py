"""Which program of the ebpf back end is attached where. Pure.

Links hang on cgroups and on the network namespace, filters on devices. The
order is the one in which they are attached: whatever has to be there for a
captured connection comes before what captures it. They are taken away the
other way round.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from interceptor.capture.plan import Device, Plan, Plane
from interceptor.capture.rule import Hook as RuleHook
from interceptor.capture.rule import Interface, Owner, OwnerKind, Rule, Verdict
from interceptor.host.probe import LinkLayer
from interceptor.host.tc import Hook


class Point(enum.Enum):
    """What a link hangs on; the values are what `observe` prints."""

    CAPTURE = "the captured cgroup"
    AGENT = "the agent's cgroup"
    NAMESPACE = "the network namespace"


LINKS: Mapping[str, Point] = {
    "original": Point.AGENT,
    "listen": Point.AGENT,
    "lookup": Point.NAMESPACE,
    "peername4": Point.CAPTURE,
    "peername6": Point.CAPTURE,
    "owner": Point.CAPTURE,
    "connect4": Point.CAPTURE,
    "connect6": Point.CAPTURE,
}
"""Every program that is attached by a link, in order."""

FILTERS = ("dns_egress", "dns_egress_l3", "dns_lo", "dns_bridge")
"""Every program that is attached to devices."""

SUBSTITUTES: Mapping[str, tuple[str, ...]] = {"lookup": ("lookup_plain",)}
"""What stands in for a program that this kernel refuses: one that asks for less."""

EGRESS: Mapping[LinkLayer, str] = {
    LinkLayer.LOOPBACK: "dns_lo",
    LinkLayer.ETHERNET: "dns_egress",
    LinkLayer.NONE: "dns_egress_l3",
}


@dataclass(frozen=True, slots=True)
class Place:
    """One filter: which program, on which side of which device."""

    device: Device
    hook: Hook
    program: str


def links(plan: Plan) -> tuple[str, ...]:
    """The programs that are attached by links for a plan, in order."""
    if not plan.planes:
        return ()
    missing = set[str]()
    if Plane.DNS not in plan.planes or not any(map(_has_group, plan.shape)):
        missing.add("owner")
    if Plane.TCP not in plan.planes and _names(plan, RuleHook.OUTPUT, Verdict.PASS):
        missing |= {"connect4", "connect6"}  # they come before routing knows the interface
    return tuple(name for name in LINKS if name not in missing)


def filters(plan: Plan) -> tuple[Place, ...]:
    """The filters that a plan wants on the devices that there are."""
    if Plane.DNS not in plan.planes:
        return ()
    spared = _names(plan, RuleHook.OUTPUT, Verdict.PASS)
    bridges = _names(plan, RuleHook.PREROUTING, Verdict.DNS)
    found: list[Place] = []
    for device in plan.devices:
        if device.name in spared:
            continue
        found.append(Place(device, Hook.EGRESS, EGRESS[device.layer]))
        if device.name in bridges:
            found.append(Place(device, Hook.INGRESS, "dns_bridge"))
    return tuple(found)


def _has_group(rule: Rule) -> bool:
    owners = (condition for condition in rule.conditions if isinstance(condition, Owner))
    return any(owner.kind is OwnerKind.GID for owner in owners)


def _names(plan: Plan, hook: RuleHook, verdict: Verdict) -> frozenset[str]:
    """The interfaces of rules 1 and 5. Of the shape: a filter outlives its rule."""
    return frozenset(
        name
        for rule in plan.shape
        if rule.hook is hook and rule.verdict is verdict and rule.number in (1, 5)
        for condition in rule.conditions
        if isinstance(condition, Interface)
        for name in condition.names
    )
