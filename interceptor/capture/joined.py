"""Back ends side by side, as one: the planes may have one each, and all have the routes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from interceptor.capture import route
from interceptor.capture.backend import Backend, Choice
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
        return None


@dataclass(frozen=True, slots=True)
class Part:
    """One back end and its share of a plan."""

    backend: Printable
    share: Callable[[Plan], Plan]


class Joined:
    """Several back ends, each with its share. Installed in order, removed the other way."""

    def __init__(self, name: str, parts: Sequence[Part]) -> None:
        self.name = name
        self._parts = tuple(parts)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its parts."""
        return tuple(part.backend.name for part in self._parts)

    def render(self, plan: Plan) -> tuple[Step, ...]:
        """Every step for a host that has nothing of ours. Pure."""
        return tuple(step for part in self._parts for step in part.backend.render(part.share(plan)))

    def expected(self, plan: Plan) -> str:
        """What `observe` gives once the plan is installed. Pure."""
        return "".join(part.backend.expected(part.share(plan)) for part in self._parts)

    def observe(self) -> str:
        return "".join(part.backend.observe() for part in self._parts)

    def apply(self, plan: Plan) -> None:
        for part in self._parts:
            part.backend.apply(part.share(plan))

    def revert(self) -> None:
        for part in reversed(self._parts):
            part.backend.revert()

    def update(self, places: Iterable[Place]) -> None:
        every = tuple(places)
        for part in self._parts:
            part.backend.update(every)

    def events(self) -> int | None:
        for part in self._parts:
            descriptor = part.backend.events()
            if descriptor is not None:
                return descriptor
        return None


def _whole(plan: Plan) -> Plan:
    return plan


def build(choice: Choice, journal: Journal) -> Joined:
    """The back ends of a choice. Nothing on the host is touched yet."""
    parts = [Part(Routes(journal), _whole)]
    if choice.tcp == choice.dns:
        parts += _parts(choice.tcp, choice, journal, _whole)
        return Joined(choice.tcp, parts)
    parts += _parts(choice.tcp, choice, journal, lambda plan: plan.only(Plane.TCP))
    parts += _parts(choice.dns, choice, journal, lambda plan: plan.only(Plane.DNS))
    return Joined(f"{choice.tcp}+{choice.dns}", parts)


def _parts(
    name: str, choice: Choice, journal: Journal, share: Callable[[Plan], Plan]
) -> list[Part]:
    if name == "iptables":
        return [Part(Iptables(choice.variant, journal, ipset=choice.ipset), share)]
    parts = [Part(Nftables(journal, queue=not choice.queue_by_iptables), share)]
    if choice.queue_by_iptables:
        queue = Iptables(choice.variant, journal, ipset=choice.ipset, queue_only=True)
        parts.append(Part(queue, share))
    return parts
