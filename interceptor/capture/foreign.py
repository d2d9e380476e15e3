"""A rule of somebody else that takes packets which ours should see. A value."""

from __future__ import annotations

from dataclasses import dataclass

TAKES = ("drop", "reject", "dnat", "redirect", "queue", "tproxy")
"""What a rule does to a packet that no rule behind it sees, or sees as another."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """``where`` it stands, and what it says. ``matches``: this flow is meant; None where its
    conditions are not all understood."""

    where: str
    text: str
    verdict: str
    owner: str = ""
    matches: bool | None = None
