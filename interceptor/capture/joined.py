"""Back ends side by side, as one: the planes may have one each, and all have the routes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from interceptor.capture import route
from interceptor.capture.backend import Backend, Choice
from interceptor.capture.ebpf import Ebpf
from interceptor.capture.ebpfstep import Sites
from interceptor.capture.iptables import Iptables
from interceptor.capture.journal import Journal
from interceptor.capture.nftables import Nftables
from interceptor.capture.plan import Place, Plan, Plane
from interceptor.capture.step import Step


class Printable(Backend, Protocol):
    """A back end whose steps can be seen before they are taken."""

    def render(self, plan: Plan) -> tuple[Step, ...]:
        """The steps for a host that has nothing of ours. Pure."""

    def expected(self, plan: Plan) -> str:
        """What `observe` gives once the plan is installed. Pure."""


class Routes:
    """Routes and policy rules behind the seam; they hang on no mesh address."""

    name = "routes"

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def render(self, plan: Plan) -> tuple[Step, ...]:
        return route.render(plan)

    def expected(self, plan: Plan) -> str:
        return route.expected(plan)

    def observe(self) -> str:
        return route.observe()

    def apply(self, plan: Plan) -> None:
        route.apply(plan, self._journal)

    def revert(self) -> None:
        route.revert()

    def update(self, places: Iterable[Place]) -> None:
        del places

    def events(self) -> int | None:
        return None  # who follows the host's links hears of these as well

    def is_amiss(self) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Part:
    """One back end and its share of a plan."""

    backend: Printable
    share: Callable[[Plan], Plan]

    def expected(self, plan: Plan) -> str:
        """What its `observe` gives once the whole plan is installed. Pure."""
        return self.backend.expected(self.share(plan))

    def apply(self, plan: Plan) -> None:
        """Make the host follow its share of the whole plan."""
        self.backend.apply(self.share(plan))


class Joined:
    """Several back ends, each with its share. Installed in order, removed the other way.

    ``sites`` is where the one that needs them lives, or would.
    """

    def __init__(self, name: str, parts: Sequence[Part], sites: Sites) -> None:
        self.name = name
        self.sites = sites
        self.parts = tuple(parts)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its parts."""
        return tuple(part.backend.name for part in self.parts)

    def render(self, plan: Plan) -> tuple[Step, ...]:
        """Every step for a host that has nothing of ours. Pure."""
        return tuple(step for part in self.parts for step in part.backend.render(part.share(plan)))

    def expected(self, plan: Plan) -> str:
        """What `observe` gives once the plan is installed. Pure."""
        return "".join(part.expected(plan) for part in self.parts)

    def observe(self) -> str:
        return "".join(part.backend.observe() for part in self.parts)

    def apply(self, plan: Plan) -> None:
        for part in self.parts:
            part.apply(plan)

    def revert(self) -> None:
        for part in reversed(self.parts):
            part.backend.revert()

    def update(self, places: Iterable[Place]) -> None:
        every = tuple(places)
        for part in self.parts:
            part.backend.update(every)

    @property
    def is_told(self) -> bool:
        """Whether every change of what is ours is told by `events`, so that nobody has to look."""
        return set(self.names) <= {Routes.name, Nftables.name}

    def events(self) -> tuple[int, ...]:
        """The descriptors of all of them, the caller's."""
        found = (part.backend.events() for part in self.parts)
        return tuple(descriptor for descriptor in found if descriptor is not None)

    def is_amiss(self) -> bool:
        """As with one; of all."""
        return any(part.backend.is_amiss() for part in self.parts)


def _whole(plan: Plan) -> Plan:
    return plan


def build(choice: Choice, journal: Journal, sites: Sites | None = None) -> Joined:
    """The back ends of a choice. Nothing on the host is touched yet."""
    sites = sites or Sites()
    parts = [Part(Routes(journal), _routes(choice))]
    if choice.tcp == choice.dns:
        parts += _parts(choice.tcp, choice, journal, sites)
        return Joined(choice.tcp, parts, sites)
    for name, plane in ((choice.tcp, Plane.TCP), (choice.dns, Plane.DNS)):
        own = _parts(name, choice, journal, sites)
        parts += [Part(part.backend, partial(_only, plane)) for part in own]
    return Joined(f"{choice.tcp}+{choice.dns}", parts, sites)


def _only(plane: Plane, plan: Plan) -> Plan:
    return plan.only(plane)


def _routes(choice: Choice) -> Callable[[Plan], Plan]:
    """Programs see a connection before it is routed; what they rewrite wants routes of its own."""
    if "ebpf" not in (choice.tcp, choice.dns):
        return _whole
    return partial(route.aliased, with_vips=choice.tcp != "ebpf")


def _parts(name: str, choice: Choice, journal: Journal, sites: Sites) -> list[Part]:
    if name == "ebpf":
        return [Part(Ebpf(journal, sites), _whole)]
    if name == "iptables":
        return [Part(Iptables(choice.variant, journal, ipset=choice.ipset), _whole)]
    parts = [Part(Nftables(journal, queue=not choice.queue_by_iptables), _whole)]
    if choice.queue_by_iptables:
        queue = Iptables(choice.variant, journal, ipset=choice.ipset, queue_only=True)
        parts.append(Part(queue, _whole))
    return parts
