"""What probes said, and what follows from it by thresholds, as kubelet counts. PURE."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from interceptor.config.membership import Probe

TOLD = 300
"""A longer reason is cut. Unit: characters."""


class State(enum.Enum):
    """Whether others may be sent here."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one probe. ``reason`` is a sentence, also of a success."""

    is_success: bool
    reason: str = ""

    def told(self) -> str:
        """The reason in one line of bounded length."""
        line = " ".join(self.reason.split())
        return line if len(line) <= TOLD else line[: TOLD - 1] + "…"


@dataclass(frozen=True, slots=True)
class Verdict:
    """``run`` probes in a row have said the same, the last of them ``last``."""

    state: State = State.UNKNOWN
    last: Outcome | None = None
    run: int = 0


def decide(before: Verdict, outcome: Outcome, probe: Probe) -> Verdict:
    """The verdict after one more outcome. It turns only when as many in a row say so as the
    thresholds want; the first one is reached in the same way, from unknown."""
    same = before.last is not None and before.last.is_success is outcome.is_success
    run = before.run + 1 if same else 1
    wanted = probe.success_threshold if outcome.is_success else probe.failure_threshold
    found = replace(before, last=outcome, run=run)
    if run < wanted:
        return found
    return replace(found, state=State.HEALTHY if outcome.is_success else State.UNHEALTHY)
