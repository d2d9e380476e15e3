"""Which rule decided what has happened, by the plan that is installed.

The verdict of an event is what happened, and never the plan's: this tells its rule only where the
two agree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from interceptor.capture.plan import Decision, Flow, Plan, Verdict
from interceptor.capture.rule import Interface
from interceptor.capture.scope import Scope
from interceptor.mesh.model import Address
from interceptor.mesh.outcome import Resolution


@dataclass(frozen=True, slots=True)
class View:
    """What a daemon is asked about, each as it is now.

    ``plan``: what is installed. ``host``: the mesh's host that is called at an address and port,
    or offered there (True: arriving). ``device``: by which link packets leave towards an address.
    ``resolve``: what the mesh answers to a name and type; None while that is not at hand.
    """

    plan: Callable[[], Plan | None]
    host: Callable[[Address, int, bool], str]
    device: Callable[[Address], str]
    resolve: Callable[[str, int], Resolution | None]


class Judge:
    """`Scope` of the plan of now."""

    def __init__(self) -> None:
        self._scope: Scope | None = None

    def decide(self, plan: Plan, flow: Flow) -> Decision:
        if self._scope is None or self._scope.plan is not plan:
            self._scope = Scope(plan)
        return self._scope.decide(flow)

    def forget(self) -> None:
        self._scope = None


def reason(happened: Verdict, decided: Decision, *, is_known: bool) -> tuple[int, str]:
    """The rule and why; no rule where the plan says another thing than what happened.
    ``is_known``: whether the flow's owner is."""
    if happened is decided.verdict:
        return decided.rule, decided.why
    if not is_known:
        return 0, "who made it had ended before we looked, so that its rule is not known"
    said = f"rule {decided.rule} ({decided.why}) says {decided.verdict.value}"
    return 0, f"not as planned: {said}"


def is_own(address: Address, plan: Plan) -> bool:
    """An address of this host: a link's, loopback, or one that a route of ours makes so."""
    if address.is_loopback or address in plan.own_addresses:
        return True
    local = (route for route in plan.routes if route.kind == "local" and not route.table)
    return any(address in route.destination for route in local)


def names_devices(plan: Plan) -> bool:
    """Whether some rule asks for another link than lo."""
    conditions = (condition for rule in plan.rules for condition in rule.conditions)
    return any(isinstance(each, Interface) and each.names != ("lo",) for each in conditions)


def interface(plan: Plan, to: Address, device: Callable[[Address], str]) -> str:
    """The link of packets to an address, asked for only where a rule wants to know."""
    if names_devices(plan):
        return device(to)
    return "lo" if is_own(to, plan) else "uplink"
