"""How one self-test ended, as a value and as a line between processes."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Literal

Result = Literal["passed", "failed", "absent"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """``absent``: this host has not what the test is about. ``detail`` is what was seen."""

    name: str
    result: Result
    detail: str = ""
    took_s: float = 0.0


def encode(outcome: Outcome) -> str:
    """One line of JSON."""
    return json.dumps(dataclasses.asdict(outcome))


def decode(line: str) -> Outcome:
    """The inverse of `encode`. Raises ValueError for anything else."""
    tree = json.loads(line)
    if not isinstance(tree, dict) or tree.get("result") not in ("passed", "failed", "absent"):
        raise ValueError(f"no outcome: {line!r}")
    return Outcome(str(tree["name"]), tree["result"], str(tree["detail"]), float(tree["took_s"]))
