"""What a doctor says of one thing: how it is, what was seen, why that matters, what mends it."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

# Exit codes of design §10.
DONE, FAILED, UNSUPPORTED = 0, 1, 3


class State(enum.StrEnum):
    """How bad it is. A note is a limit to know of; a warning breaks some programs or some calls;
    a fault stands in the way of the whole."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    FAULT = "fault"


class Group(enum.StrEnum):
    """What a check is about; `doctor --only` takes these words."""

    KERNEL = "kernel"
    PROCESS = "process"
    RESOLVER = "resolver"
    FIREWALL = "firewall"
    NETWORK = "network"
    PORTS = "ports"
    SIDECAR = "sidecar"
    AGENT = "agent"
    MESH = "mesh"
    SELF_TEST = "self-test"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the table. ``cure`` is a command or a configuration key; ``took_s`` a test's."""

    group: Group
    name: str
    state: State
    seen: str
    why: str = ""
    cure: str = ""
    took_s: float | None = None


def encode(check: Check) -> dict[str, object]:
    """As ``--json`` prints it."""
    tree: dict[str, object] = {
        "group": check.group.value,
        "name": check.name,
        "state": check.state.value,
        "seen": check.seen,
        "why": check.why,
        "cure": check.cure,
    }
    return tree if check.took_s is None else {**tree, "took_s": round(check.took_s, 3)}


def count(checks: Iterable[Check]) -> dict[State, int]:
    """How many there are of each state."""
    found = dict.fromkeys(State, 0)
    for check in checks:
        found[check.state] += 1
    return found


def exit_code(checks: Iterable[Check], *, can_run: bool) -> int:
    """3 where no back end can run here, 1 where there is a fault, else 0."""
    if not can_run:
        return UNSUPPORTED
    return FAILED if count(checks)[State.FAULT] else DONE
