"""Whether one flow is captured, and why: the plan's rules, interpreted."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

from interceptor.capture import span
from interceptor.capture.plan import Decision, Flow, Plan
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
    OwnerKind,
    Port,
    Rule,
    SetName,
    Source,
    Verdict,
    narrowed,
)
from interceptor.capture.span import Cover
from interceptor.mesh.model import Address

NOTHING = Decision(Verdict.PASS, 9, "nothing is captured here")


def decide(plan: Plan, flow: Flow) -> Decision:
    """The fate of a flow: that of the first rule that holds."""
    rule = match(plan, flow)
    return NOTHING if rule is None else Decision(rule.verdict, rule.number, rule.why)


class Scope:
    """One plan, to be asked about many flows: what a set of ten thousand networks costs to read
    is paid once."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._covers: dict[tuple[SetName, int], Cover] = {}

    def decide(self, flow: Flow) -> Decision:
        """As `decide`."""
        address = flow.destination
        fixed, servers = (
            (ip_network(address),) if self._covers_it(name, address) else ()
            for name in (SetName.OUTBOUND, SetName.DNS)
        )
        return decide(replace(self.plan, fixed=fixed, places=(), servers=servers), flow)

    def _covers_it(self, name: SetName, address: Address) -> bool:
        place = (name, address.version)
        if place not in self._covers:
            self._covers[place] = Cover(self.plan.networks(*place))
        return self._covers[place].holds(int(address), int(address))


def match(plan: Plan, flow: Flow) -> Rule | None:
    """The first rule that holds for the flow; None where the plan does not look at it."""
    if flow.destination.version not in plan.families:
        return None
    for rule in plan.rules:
        if rule.hook is flow.hook and rule.protocol in ("", flow.protocol):
            conditions = narrowed(rule.conditions, flow.destination.version)
            if conditions is not None and all(_holds(plan, flow, item) for item in conditions):
                return rule
    return None


def _holds(plan: Plan, flow: Flow, condition: Condition) -> bool:
    match condition:
        case Interface(names):
            return flow.interface in names
        case Source(networks, negate):
            return _any(flow.source, networks) is not negate
        case Destination(networks, negate):
            return _any(flow.destination, networks) is not negate
        case DestinationSet(name):
            return span.contains(plan.networks(name, flow.destination.version), flow.destination)
        case DestinationLocal(negate):
            return _is_local(plan, flow.destination) is not negate
        case Port(ports, negate):
            return (flow.port in ports) is not negate
        case Owner(kind, ids, negate):
            owner = flow.uid if kind is OwnerKind.UID else flow.gid
            return (owner in ids) is not negate
        case Cgroup(paths, negate):
            return any(_is_below(flow.cgroup, path) for path in paths) is not negate
        case Mark(value):
            return flow.mark == value


def _any(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address in network for network in networks)


def _is_local(plan: Plan, address: Address) -> bool:
    """The kernel's word for it: loopback, an interface's address, or a local route of ours."""
    if address.is_loopback or address in plan.own_addresses:
        return True
    local = (route for route in plan.routes if route.kind == "local" and not route.table)
    return any(address in route.destination for route in local)


def _is_below(cgroup: str, path: str) -> bool:
    path = path.strip("/")
    return f"{cgroup.strip('/')}/".startswith(f"{path}/")
