"""The seam between a plan and the kernel's mechanisms, and the choice among them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from interceptor.capture.plan import Plan
from interceptor.mesh.model import Address


class Backend(Protocol):
    """One mechanism. Planning is not its business; every method may block briefly."""

    name: str

    def observe(self) -> str:
        """What of ours is on the host now, in the mechanism's own words, counters left out."""

    def apply(self, plan: Plan) -> None:
        """Make the host follow ``plan``. Atomic a family; twice changes nothing."""

    def revert(self) -> None:
        """Remove everything of ours, whatever version or plan installed it."""

    def update(self, addresses: Iterable[Address]) -> None:
        """Capture exactly these mesh addresses besides the plan's own CIDRs, in place."""

    def events(self) -> int | None:
        """A file descriptor that becomes readable when our rules were touched, or None."""
