"""When what may happen: each fault's allowance, and the promise by which it ends. Pure.

A fault opens a `Trouble`. Its allowances last until it is undone and then as long as the
promise says. What we have promised cannot be kept by an agent that is away: a promise
that falls into such a spell counts anew from its end.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field


class Effect(enum.Enum):
    """What a fault may cost. Nothing else may be lost, and nothing may be wrong ever."""

    AWAY = "the agent is away, or kept from working"
    LOSE = "a query may be lost, as it would be without us"
    LOSE_QUEUED = "a query that waits in our queue may be lost"
    LOSE_TCP = "a query over TCP may be cut off, and is asked again"
    PASS_UDP = "a mesh name may pass to the host's resolver"
    PASS_TCP = "the same over TCP"
    CALL = "a new connection through the sidecar may fail, or go by it"
    BREAK = "a kept connection through the sidecar may break"
    DIRECT = "a new connection to others may fail, as it would without us"


PLAIN = frozenset({Effect.LOSE, Effect.LOSE_QUEUED, Effect.LOSE_TCP, Effect.DIRECT})
"""What no agent's absence makes longer: we have no part in it, or it is over at once."""


@dataclass
class Trouble:
    """One fault's doing: from ``begin_s`` to ``end_s`` (not yet known: infinity), and for each
    effect how long after that it may still be seen."""

    cause: str
    begin_s: float
    after_s: Mapping[Effect, float]
    end_s: float = math.inf


@dataclass
class Ledger:
    """Every trouble of a run, in the order in which they began."""

    troubles: list[Trouble] = field(default_factory=list)

    def open(self, cause: str, begin_s: float, after_s: Mapping[Effect, float]) -> Trouble:
        """A trouble whose end is still to come."""
        self.troubles.append(Trouble(cause, begin_s, after_s))
        return self.troubles[-1]

    def note(
        self, cause: str, begin_s: float, end_s: float, after_s: Mapping[Effect, float]
    ) -> None:
        """A trouble that is over."""
        self.open(cause, begin_s, after_s).end_s = end_s

    def tell(self) -> str:
        """All of it, a line each."""
        return "".join(
            f"{each.begin_s:.3f} to {each.end_s:.3f} {each.cause}: "
            + ", ".join(f"{effect.name} {after_s:g}" for effect, after_s in each.after_s.items())
            + "\n"
            for each in self.troubles
        )

    def settle(self, when_s: float, promise_s: float, begin_s: float | None = None) -> float:
        """When something that is promised within ``promise_s`` of ``when_s`` has to be done."""
        begin_s = when_s if begin_s is None else begin_s
        due_s = when_s + promise_s
        aways = [each for each in self.troubles if Effect.AWAY in each.after_s]
        moved = True
        while moved:
            moved = False
            for away in aways:
                end_s = away.end_s + away.after_s[Effect.AWAY]
                if away.begin_s <= due_s and begin_s <= end_s and end_s + promise_s > due_s:
                    due_s, moved = end_s + promise_s, True
        return due_s

    def allows(self, effect: Effect, from_s: float, to_s: float) -> Trouble | None:
        """The latest trouble by which an effect may be seen between the two times."""
        for each in reversed(self.troubles):
            after_s = each.after_s.get(effect)
            if after_s is None or each.begin_s > to_s:
                continue
            if from_s <= each.end_s + after_s:
                return each
            if effect not in PLAIN and from_s <= self.settle(each.end_s, after_s, each.begin_s):
                return each
        return None
